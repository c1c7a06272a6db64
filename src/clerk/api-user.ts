import { TypeCompiler } from '@sinclair/typebox/compiler'
import { isAhead } from '../domain/change.ts'
import type { UserSnapshot } from '../resources/user/change.ts'
import { snapshotFromApi } from '../resources/user/change.ts'
import { ClerkUser } from '../resources/user/payload.ts'

const userCheck = TypeCompiler.Compile(ClerkUser)

/** A user as the Backend API answered, or why it cannot be used; that says nothing of what is in it. */
export function readApiUser(raw: unknown, nowMs: number): { user: UserSnapshot } | { reason: string } {
  if (!userCheck.Check(raw)) return { reason: 'an unexpected body' }
  const user = snapshotFromApi(raw)
  return isAhead(user.version.updatedAt, nowMs) ? { reason: 'dated more than a day ahead' } : { user }
}
