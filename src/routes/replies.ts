/** The schemas of replies that several routes share. */
import { Type } from '@sinclair/typebox'
import { errorReplySchemas } from '../errors.ts'
import { USER_EXAMPLE, User } from '../resources/user/payload.ts'

export const UserReply = Type.Object(
  { user: User },
  { description: 'The row of the user', examples: [{ user: USER_EXAMPLE }] },
)

/** The error replies of every route that needs a token. */
export const AUTH_ERRORS = errorReplySchemas(401, 403, 429, 503)

export const BEARER: Record<string, string[]>[] = [{ bearerToken: [] }, { sessionCookie: [] }]
