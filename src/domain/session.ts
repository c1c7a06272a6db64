/** The state of one of Clerk's sessions. */
import type { Version } from './version.ts'

/** The states that a session never leaves (https://clerk.com/docs/reference/javascript/session: status). */
export const FINAL_SESSION_STATUSES = ['ended', 'removed', 'revoked', 'replaced', 'abandoned', 'expired'] as const

const FINAL: ReadonlySet<string> = new Set(FINAL_SESSION_STATUSES)

/** Whether a session in this state is over for good. */
export const isFinal = (status: string): boolean => FINAL.has(status)

/** A session as an event describes it. Times are milliseconds since 1970. */
export interface SessionState {
  id: string
  userId: string
  status: string
  clientId: string | null
  version: Version
  createdAt: number | null
  lastActiveAt: number | null
  expireAt: number | null
  abandonAt: number | null
}

/** Whether `a` is the later state: a final one beats any other, then the newer, then (for the same order everywhere) by name. */
export function isLaterState(a: SessionState, b: SessionState): boolean {
  if (isFinal(a.status) !== isFinal(b.status)) return isFinal(a.status)
  if (a.version.updatedAt !== b.version.updatedAt) return a.version.updatedAt > b.version.updatedAt
  const [aEventAt, bEventAt] = [a.version.eventAt ?? -Infinity, b.version.eventAt ?? -Infinity]
  return aEventAt !== bEventAt ? aEventAt > bEventAt : a.status > b.status
}
