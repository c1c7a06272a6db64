import { type Static, Type } from '@sinclair/typebox'
import { Id, Maybe, Open, Time } from '../../domain/payload.ts'
import { ClerkUser } from '../user/payload.ts'

/** A session in events; `user` may be null or missing. */
export const ClerkSession = Open({
  id: Id,
  user_id: Id,
  status: Maybe(Type.String({ minLength: 1 })),
  client_id: Maybe(Type.String()),
  last_active_at: Maybe(Time),
  expire_at: Maybe(Time),
  abandon_at: Maybe(Time),
  created_at: Maybe(Time),
  updated_at: Maybe(Time),
  user: Maybe(ClerkUser),
})
export type ClerkSession = Static<typeof ClerkSession>
