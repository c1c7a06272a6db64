import { TypeCompiler } from '@sinclair/typebox/compiler'
import { isAhead } from '../domain/change.ts'
import type { UserSnapshot } from '../resources/user/change.ts'
import { snapshotFromApi } from '../resources/user/change.ts'
import { ClerkUser } from '../resources/user/payload.ts'

const userCheck = TypeCompiler.Compile(ClerkUser)

/**
 * Reads a user from an answer of the Backend API, or says why it cannot be used, without quoting it.
 * @param askedAt the time of the request, in ms since 1970, to compare the answer with an inferred deletion
 */
export function readApiUser(raw: unknown, askedAt: number): { user: UserSnapshot } | { reason: string } {
  if (!userCheck.Check(raw)) return { reason: 'an unexpected body' }
  const user = snapshotFromApi(raw, askedAt)
  return isAhead(user.version.updatedAt, askedAt) ? { reason: 'dated more than a day ahead' } : { user }
}
