import { type Static, Type } from '@sinclair/typebox'
import { Id, Maybe, Open, Time } from '../../domain/payload.ts'

/** An invitation in events and the Backend API (`OrganizationInvitationJSON` of @clerk/backend). */
export const ClerkInvitation = Open({
  id: Id,
  organization_id: Maybe(Type.String()),
  email_address: Maybe(Type.String()),
  role: Maybe(Type.String()),
  status: Maybe(Type.String({ minLength: 1 })),
  user_id: Maybe(Type.String()),
  created_at: Maybe(Time),
  updated_at: Maybe(Time),
})
export type ClerkInvitation = Static<typeof ClerkInvitation>
