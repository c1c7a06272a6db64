import { TypeCompiler } from '@sinclair/typebox/compiler'
import { isAhead } from '../domain/change.ts'
import type { UserSnapshot } from '../resources/user/change.ts'
import { snapshotFromApi } from '../resources/user/change.ts'
import { ClerkUser } from '../resources/user/payload.ts'

const userCheck = TypeCompiler.Compile(ClerkUser)

/**
 * A user as the Backend API answered, or why it cannot be used; that says nothing of what is in it.
 * @param askedAt when it was asked, in ms since 1970: what dates the answer against an inferred deletion
 */
export function readApiUser(raw: unknown, askedAt: number): { user: UserSnapshot } | { reason: string } {
  if (!userCheck.Check(raw)) return { reason: 'an unexpected body' }
  const user = snapshotFromApi(raw, askedAt)
  return isAhead(user.version.updatedAt, askedAt) ? { reason: 'dated more than a day ahead' } : { user }
}
