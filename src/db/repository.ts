/** The single writer of the tables: every `Change` is written by `apply`. */
import type { DatabaseError } from 'pg'
import type { Change, Message } from '../domain/change.ts'
import { DatabaseUnavailable, OnChangeFailed, retryAfter } from '../errors.ts'
import { type AuthKey, type AuthState, findAuthStates } from '../resources/auth-state.ts'
import { findOrganizationsOf } from '../resources/membership/list.ts'
import { pruneSessions as pruneFinalSessions } from '../resources/session/upsert.ts'
import { type SyncedMetadata, withMetadata } from '../resources/user/metadata.ts'
import type { AppliedChange } from './apply.ts'
import { type OnChange, OnChangeError } from './changes/on-change.ts'
import { pruneChanges } from './changes/prune.ts'
import { findFailedHeads, findLastOfTypes, findLedgerBuckets, searchUsers } from './dashboard.ts'
import { isDatabaseTrouble } from './errors.ts'
import { type FailedEventsCursor, type FailedEventsFilter, findFailedEvents } from './failed-events.ts'
import { findInstanceId } from './instance.ts'
import { createIsolation } from './isolation.ts'
import { discardMessages, failMessage, pruneMessages, supersedeMessages } from './ledger.ts'
import { findLedgerSummary } from './ledger-summary.ts'
import type { Pool } from './pool.ts'
import { findTableStatistics } from './table-statistics.ts'

/** The result of one change: an outcome, or the error for which only this change was refused. */
export type ChangeResult = AppliedChange | { error: Error }

export interface RepositoryOptions {
  pool: Pool
  /** Keeps the payloads of applied events too. They contain personal data. */
  storePayloads?: boolean
  /** The cause of row changes for the change feed; by default derived from each change. */
  cause?: string
  /** Called within each transaction that adds to the change feed. */
  onChange?: OnChange
  /** The metadata of users to store in addition to the public metadata; none by default. */
  syncMetadata?: readonly SyncedMetadata[]
}

export type Repository = ReturnType<typeof createRepository>

const RETRY_AFTER_MS = 2_000
const MIN_SESSION_DAYS = 7

/** Reads and writes the tables. Every method rejects with `DatabaseUnavailable` if the database has a problem. */
export function createRepository({
  pool,
  storePayloads = false,
  syncMetadata = [],
  cause,
  onChange,
}: RepositoryOptions) {
  const counts = { conflictRetries: 0 }

  const isolated = createIsolation({
    pool,
    storePayloads,
    cause,
    onChange,
    refuse,
    onRetry: () => (counts.conflictRetries += 1),
  })

  /**
   * Applies changes in one transaction, and resolves after the commit to one result per change, in order. May be repeated. A change
   * that PostgreSQL refuses fails alone, and its message is stored as failed. A change whose row is locked resolves later, or
   * rejects alone.
   */
  async function applyEach(changes: Change[]): Promise<(ChangeResult | Promise<ChangeResult>)[]> {
    const results = await withUnavailable(isolated(changes.map((change) => withMetadata(change, syncMetadata))))
    return results.map((result) => (result instanceof Promise ? late(result) : result))
  }

  /** Like `applyEach`, but waits for all results. Rejects if one rejects; the others are applied nevertheless. */
  const apply = async (changes: Change[]): Promise<ChangeResult[]> => Promise.all(await applyEach(changes))

  async function refuse({ message }: Change, error: DatabaseError | OnChangeError): Promise<ChangeResult> {
    // Not stored as failed, because a replay might run in a process without onChange. Svix sends the message again.
    if (error instanceof OnChangeError) return { error: asUnavailable(error) as Error }
    const isRepeated = message && (await fail(message, `${error.code}: ${error.message}`))
    return isRepeated ? { outcome: 'duplicate', created: false } : { error: withoutData(error) }
  }

  /**
   * Stores a message that cannot be used as failed, for a replay. Repeating it counts one more attempt. A message that was applied
   * before stays so. Resolves to whether that is the case.
   */
  const fail = (message: Message, reason: string): Promise<boolean> =>
    withUnavailable(failMessage(pool, message, reason))

  /** The current rows of users and states of their sessions, in the order of the keys. */
  const readAuthStates = (keys: AuthKey[]): Promise<AuthState[]> => withUnavailable(findAuthStates(pool, keys))

  /** The current row of a user and state of a session. */
  async function findAuthState(key: AuthKey): Promise<AuthState> {
    const [state] = await readAuthStates([key])
    return state as AuthState
  }

  /** A summary of the ledger, for health checks. */
  const ledgerSummary = () => withUnavailable(findLedgerSummary(pool))

  /** A page of failed messages, oldest first. */
  const failedEvents = (filter: FailedEventsFilter, page: { after?: FailedEventsCursor; limit: number }) =>
    withUnavailable(findFailedEvents(pool, filter, page))

  /** The row counts of the tables, at a low cost. */
  const tableStatistics = () => withUnavailable(findTableStatistics(pool))

  /** The ledger over time, the last webhook of each type, and the newest failed ones. */
  const dashboard = async (stepSeconds: number, count: number) => ({
    buckets: await withUnavailable(findLedgerBuckets(pool, stepSeconds, count)),
    lastByType: await withUnavailable(findLastOfTypes(pool)),
    failedEvents: await withUnavailable(findFailedHeads(pool)),
  })

  /** Discards failed messages for good. Resolves to the ids of those that were failed. */
  const discard = (ids: readonly string[]) => withUnavailable(discardMessages(pool, ids))

  /** Marks failed messages that a newer state of their object has superseded. Returns how many. */
  const supersede = () => withUnavailable(supersedeMessages(pool))

  /** The id of the Clerk instance whose users the tables hold; undefined if it is not known yet. */
  const instanceId = () => withUnavailable(findInstanceId(pool))

  /** Deletes old messages of the ledger, unless another replica is doing so. Returns how many. */
  const prune = (retentionDays: number) => withUnavailable(pruneMessages(pool, retentionDays))

  /** Deletes sessions that ended by an event or by their times, unless another replica is doing so. They are kept for at least a week, because redeliveries by Svix must find them. */
  const pruneSessions = (retentionDays: number) =>
    withUnavailable(pruneFinalSessions(pool, Math.max(retentionDays, MIN_SESSION_DAYS)))

  return {
    apply,
    applyEach,
    fail,
    findAuthState,
    findAuthStates: readAuthStates,
    /** The organizations of which a user is currently a member, by name and then id. */
    findOrganizationsOf: (userId: string) => withUnavailable(findOrganizationsOf(pool, userId)),
    ledgerSummary,
    failedEvents,
    tableStatistics,
    dashboard,
    /** Finds users by id or exact email address, or members by the id of their organization, for the dashboard. */
    searchUsers: (idOrEmail: string) => withUnavailable(searchUsers(pool, idOrEmail)),
    discard,
    supersede,
    instanceId,
    prune,
    pruneSessions,
    /** Deletes changes of the feed that are older than the retention. Returns how many. */
    pruneChanges: (retentionDays: number) => withUnavailable(pruneChanges(pool, retentionDays)),
    counts,
  }
}

// Detail and context may quote data, which must not be logged.
function withoutData(error: DatabaseError): DatabaseError {
  error.detail = error.where = error.internalQuery = undefined
  return error
}

function asUnavailable(error: unknown): unknown {
  if (error instanceof OnChangeError) return retryAfter(new OnChangeFailed({ cause: error }), RETRY_AFTER_MS)
  if (!isDatabaseTrouble(error)) return error
  return retryAfter(new DatabaseUnavailable({ cause: error }), RETRY_AFTER_MS)
}

/** A result that comes later. Its rejection is marked as handled, because the caller may not await it yet. */
function late<T>(result: Promise<T>): Promise<T> {
  const answer = withUnavailable(result)
  answer.catch(() => undefined)
  return answer
}

async function withUnavailable<T>(work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (error) {
    throw asUnavailable(error)
  }
}
