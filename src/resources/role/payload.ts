import { type Static, Type } from '@sinclair/typebox'
import { Id, Maybe, Open, Time } from '../../domain/payload.ts'

/** A role in events and the Backend API (`RoleJSON` of @clerk/backend). */
export const ClerkRole = Open({
  id: Id,
  key: Type.String({ minLength: 1 }),
  name: Maybe(Type.String()),
  permissions: Maybe(Type.Array(Open({ key: Type.String() }))),
  created_at: Maybe(Time),
  updated_at: Maybe(Time),
})
export type ClerkRole = Static<typeof ClerkRole>
