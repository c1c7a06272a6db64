/** The schemas of replies that several routes share. */
import { Type } from '@sinclair/typebox'
import { User } from '../domain/user.ts'
import { errorReplySchemas } from '../errors.ts'

export const UserReply = Type.Object({ user: User })

/** What every route behind a token may answer with. */
export const AUTH_ERRORS = errorReplySchemas(401, 403, 429, 503)

export const BEARER: Record<string, string[]>[] = [{ bearerToken: [] }, { sessionCookie: [] }]
