/** Session changes from events, and which of two states is later. */
import { cleanText } from '../../domain/clean.ts'
import { eventReader, textOf, timeOf } from '../../domain/payload.ts'
import type { Version } from '../../domain/version.ts'
import { snapshot } from '../user/change.ts'
import { ClerkSession } from './payload.ts'

declare module '../../domain/change.ts' {
  interface States {
    session?: SessionState
  }
}

/** The states that a session never leaves (https://clerk.com/docs/reference/javascript/session: status). */
export const FINAL_SESSION_STATUSES = ['ended', 'removed', 'revoked', 'replaced', 'abandoned', 'expired'] as const

const FINAL: ReadonlySet<string> = new Set(FINAL_SESSION_STATUSES)

/** Whether a session with this status has ended for good. */
export const isFinal = (status: string): boolean => FINAL.has(status)

/** The state of a session from an event. Times are milliseconds since 1970. */
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

/** Whether `a` is the later state: a final one before any other, then the newer, then by name so that the order is total. */
export function isLaterState(a: SessionState, b: SessionState): boolean {
  if (isFinal(a.status) !== isFinal(b.status)) return isFinal(a.status)
  if (a.version.updatedAt !== b.version.updatedAt) return a.version.updatedAt > b.version.updatedAt
  const [aEventAt, bEventAt] = [a.version.eventAt ?? -Infinity, b.version.eventAt ?? -Infinity]
  return aEventAt !== bEventAt ? aEventAt > bEventAt : a.status > b.status
}

// The status that each event type implies.
const STATUS_OF = {
  'session.created': 'active',
  'session.pending': 'pending',
  'session.ended': 'ended',
  'session.removed': 'removed',
  'session.revoked': 'revoked',
}

/** The readers of events about sessions. The embedded user is a snapshot too. */
export const sessionEvents = Object.fromEntries(
  Object.entries(STATUS_OF).map(([type, implied]) => [
    type,
    eventReader(type, ClerkSession, (data, eventAt) => ({
      ...(data.user && { user: snapshot(data.user, 'webhook', eventAt) }),
      session: sessionState(data, implied, eventAt),
    })),
  ]),
)

function sessionState(data: ClerkSession, implied: string, eventAt: number): SessionState {
  // The data may have a more specific final status than the event type ("replaced"), but must not revive an ended session.
  const status = data.status && (isFinal(data.status) || !isFinal(implied)) ? cleanText(data.status) : implied
  return {
    id: cleanText(data.id),
    userId: cleanText(data.user_id),
    status,
    clientId: textOf(data.client_id),
    version: { updatedAt: timeOf(data.updated_at) ?? eventAt, eventAt },
    createdAt: timeOf(data.created_at),
    lastActiveAt: timeOf(data.last_active_at),
    expireAt: timeOf(data.expire_at),
    abandonAt: timeOf(data.abandon_at),
  }
}
