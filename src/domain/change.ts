/**
 * Everything that may alter the tables becomes a `Change`, and every `Change` enters through `repository.apply(changes)`.
 *
 * Glossary, in the same words as docs/glossary.md
 * - change: everything that one arrival says: the state of each resource that it is about, and at most one message.
 * - snapshot: a whole object as it was at one time, as events and the Backend API give it.
 * - claims: what a session token says about its user: a partial view, with an age of its own.
 * - version: what orders snapshots: Clerk's `updated_at`, and between equals the timestamp of the event's envelope.
 * - tombstone: the row that a deletion leaves: id and times, no personal data.
 * - message: one webhook, by its Svix id; every delivery of it has the same id.
 * - ledger: the table of all messages, `webhook_events`.
 * - outcome: the result of a delivery: applied, duplicate, stale or ignored.
 * - path: how a change arrives: by webhook, from the Backend API, or from a token's claims; in code its `source`, in the feed its `cause`.
 * - drift: a difference between a row and what Clerk says about it.
 */

/** The state of each resource in a change, by the resource's name. Each resource adds its own (see `resources/`). */
// biome-ignore lint/suspicious/noEmptyInterface: the resources augment it
export interface States {}

/** Everything from one arrival: at most one message of the ledger, and the states of the resources that it is about. */
export interface Change extends States {
  message?: Message
}

/** A webhook message, as stored in the ledger. Times are milliseconds since 1970. */
export interface Message {
  /** The Svix message id: the same for every delivery of the message. */
  id: string
  type: string
  objectId: string | null
  /** The timestamp of the envelope: when it happened at Clerk. */
  eventAt: number | null
  /** The body, without what PostgreSQL cannot store. Kept while the message is failed; with `WEBHOOK_STORE_PAYLOADS` also when it was applied (see db/ledger.ts). */
  payload: string
  /** The Clerk instance that the envelope names. */
  instanceId?: string | null
  /** The user that the body is about. */
  userId?: string | null
  /** Why an event of a known type changes nothing here. */
  ignoredFor?: string
}

/** The result of a delivery. */
export type Outcome = 'applied' | 'duplicate' | 'stale' | 'ignored'

/** An event with a valid signature that cannot be used; `message` tells why, without personal data. */
export class InvalidEventError extends Error {
  override name = 'InvalidEventError'
}

const DAY_MS = 86_400_000

/** Whether a time is more than a day ahead, so that it would block every later change. */
export const isAhead = (date: number, nowMs: number): boolean => date > nowMs + DAY_MS
