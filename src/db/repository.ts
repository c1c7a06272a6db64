/** The only writer of the tables. Every `Change` enters through `apply`. */
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
import { discardMessages, failMessage, findLedgerSummary, pruneMessages, supersedeMessages } from './ledger.ts'
import type { Pool } from './pool.ts'
import { findTableStatistics } from './table-statistics.ts'

/** What became of one change: an outcome, or the error for which it alone was refused. */
export type ChangeResult = AppliedChange | { error: Error }

export interface RepositoryOptions {
  pool: Pool
  /** Keep the bodies of applied events too. They hold personal data. */
  storePayloads?: boolean
  /** Why rows change, for the change feed: by default what each change says of itself. */
  cause?: string
  /** Is called within each transaction that the change feed tells something of. */
  onChange?: OnChange
  /** The metadata of users that are kept beside the public ones; none by default. */
  syncMetadata?: readonly SyncedMetadata[]
}

export type Repository = ReturnType<typeof createRepository>

const RETRY_AFTER_MS = 2_000
const MIN_SESSION_DAYS = 7

/** Reads and writes the tables. Every method rejects with `DatabaseUnavailable` when the database is in trouble. */
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
   * Applies changes in one transaction and answers after the commit, one result a change, in their order. May be repeated.
   * A change that PostgreSQL refuses fails alone, and its message is kept as failed. One whose row somebody else holds is late
   * or rejects alone.
   */
  async function applyEach(changes: Change[]): Promise<(ChangeResult | Promise<ChangeResult>)[]> {
    const results = await guarded(isolated(changes.map((change) => withMetadata(change, syncMetadata))))
    return results.map((result) => (result instanceof Promise ? late(result) : result))
  }

  /** The same, when all are through. Rejects when one of them does; the others are applied nevertheless. */
  const apply = async (changes: Change[]): Promise<ChangeResult[]> => Promise.all(await applyEach(changes))

  async function refuse({ message }: Change, error: DatabaseError | OnChangeError): Promise<ChangeResult> {
    // Not kept for a replay, which might run where no onChange does: Svix sends it again.
    if (error instanceof OnChangeError) return { error: asUnavailable(error) as Error }
    const isRepeated = message && (await fail(message, `${error.code}: ${error.message}`))
    return isRepeated ? { outcome: 'duplicate', created: false } : { error: withoutData(error) }
  }

  /**
   * Keeps a message that cannot be used as failed, for a replay. Repeating it counts one more attempt. One that was applied
   * before stays so; says whether.
   */
  const fail = (message: Message, reason: string): Promise<boolean> => guarded(failMessage(pool, message, reason))

  /** The current rows of users and states of their sessions, in the order of the keys. */
  const readAuthStates = (keys: AuthKey[]): Promise<AuthState[]> => guarded(findAuthStates(pool, keys))

  /** The current row of a user and state of a session. */
  async function findAuthState(key: AuthKey): Promise<AuthState> {
    const [state] = await readAuthStates([key])
    return state as AuthState
  }

  /** When the newest webhook came and how many wait as failed. */
  const ledgerSummary = () => guarded(findLedgerSummary(pool))

  /** A page of the messages that could not be used, the oldest first. */
  const failedEvents = (filter: FailedEventsFilter, page: { after?: FailedEventsCursor; limit: number }) =>
    guarded(findFailedEvents(pool, filter, page))

  /** How much the tables hold, cheaply. */
  const tableStatistics = () => guarded(findTableStatistics(pool))

  /** The ledger over time, the last webhook of each type, and the newest failed ones. */
  const dashboard = async (stepSeconds: number, count: number) => ({
    buckets: await guarded(findLedgerBuckets(pool, stepSeconds, count)),
    lastByType: await guarded(findLastOfTypes(pool)),
    failedEvents: await guarded(findFailedHeads(pool)),
  })

  /** Gives up failed messages for good. Resolves to the ids of those that were failed. */
  const discard = (ids: readonly string[]) => guarded(discardMessages(pool, ids))

  /** Marks failed messages about whose objects something newer is known by now. Returns how many. */
  const supersede = () => guarded(supersedeMessages(pool))

  /** The Clerk instance whose users these are; undefined while nobody knows. */
  const instanceId = () => guarded(findInstanceId(pool))

  /** Deletes old messages of the ledger unless another replica is at it. Returns how many. */
  const prune = (retentionDays: number) => guarded(pruneMessages(pool, retentionDays))

  /** The same for sessions that have been over for so long, by an event or by their times. Deliveries that Svix tries again must find them: a week at least. */
  const pruneSessions = (retentionDays: number) =>
    guarded(pruneFinalSessions(pool, Math.max(retentionDays, MIN_SESSION_DAYS)))

  return {
    apply,
    applyEach,
    fail,
    findAuthState,
    findAuthStates: readAuthStates,
    /** The organizations of which a user is a member now, by name and then id. */
    findOrganizationsOf: (userId: string) => guarded(findOrganizationsOf(pool, userId)),
    ledgerSummary,
    failedEvents,
    tableStatistics,
    dashboard,
    /** Users by id or exact address, or members by the id of their organization, for an operator. */
    searchUsers: (idOrEmail: string) => guarded(searchUsers(pool, idOrEmail)),
    discard,
    supersede,
    instanceId,
    prune,
    pruneSessions,
    /** Deletes changes of the feed that are older than so many days. Returns how many. */
    pruneChanges: (retentionDays: number) => guarded(pruneChanges(pool, retentionDays)),
    counts,
  }
}

// The detail and the context may quote the data, which no log should.
function withoutData(error: DatabaseError): DatabaseError {
  error.detail = error.where = error.internalQuery = undefined
  return error
}

function asUnavailable(error: unknown): unknown {
  if (error instanceof OnChangeError) return retryAfter(new OnChangeFailed({ cause: error }), RETRY_AFTER_MS)
  if (!isDatabaseTrouble(error)) return error
  return retryAfter(new DatabaseUnavailable({ cause: error }), RETRY_AFTER_MS)
}

/** A result that comes later. Nobody need have asked for it by the time it rejects. */
function late<T>(result: Promise<T>): Promise<T> {
  const answer = guarded(result)
  answer.catch(() => undefined)
  return answer
}

async function guarded<T>(work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (error) {
    throw asUnavailable(error)
  }
}
