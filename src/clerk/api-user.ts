import { TypeCompiler } from '@sinclair/typebox/compiler'
import { isAhead, snapshotFromApi } from '../domain/change.ts'
import { ClerkUser } from '../domain/clerk-event.ts'
import type { UserSnapshot } from '../domain/user.ts'

const userCheck = TypeCompiler.Compile(ClerkUser)

/** A user as the Backend API answered, or why it cannot be used; that says nothing of what is in it. */
export function readApiUser(raw: unknown, nowMs: number): { user: UserSnapshot } | { reason: string } {
  if (!userCheck.Check(raw)) return { reason: 'an unexpected body' }
  const user = snapshotFromApi(raw)
  return isAhead(user.version.updatedAt, nowMs) ? { reason: 'dated more than a day ahead' } : { user }
}
