/**
 * The only writer of the tables. Every `Change` enters through `apply`, in one transaction whose locks are always taken in
 * the same order: messages, then users (an advisory lock where no row can be locked), then sessions, each by id.
 */
import { sql } from 'drizzle-orm'
import type pg from 'pg'
import type { Change, Message, Outcome } from '../domain/change.ts'
import { isLaterState } from '../domain/session.ts'
import type { UserChange, UserClaims, UserDeletion, UserSnapshot } from '../domain/user.ts'
import { isNewer, newestById } from '../domain/version.ts'
import { DatabaseUnavailable, retryAfter } from '../errors.ts'
import { findFailedHeads, findLastOfTypes, findLedgerBuckets, searchUsers } from './dashboard.ts'
import { type FailedEventsCursor, type FailedEventsFilter, findFailedEvents } from './failed-events.ts'
import { isDatabaseTrouble, isDataError } from './pool.ts'
import { endSessionsOf, pruneSessions as pruneFinalSessions, upsertSessions } from './sessions.ts'
import { $, type Executor, statement } from './statement.ts'
import { findTableStatistics } from './table-statistics.ts'
import { inTransaction } from './transaction.ts'
import { type AuthKey, type AuthState, findAuthStates, upsertUsers } from './users.ts'
import { rewindVersions } from './version-correction.ts'
import { claimMessages, failMessage, findLedgerSummary, pruneMessages, settleMessages } from './webhook-events.ts'

/** What became of one change: an outcome, or the error for which it alone was refused. */
export type ChangeResult = { outcome: Outcome; created: boolean } | { error: Error }

export interface RepositoryOptions {
  pool: pg.Pool
  /** Keep the bodies of applied events too. They hold personal data. */
  storePayloads?: boolean
}

export type Repository = ReturnType<typeof createRepository>

const RETRY_AFTER_MS = 2_000
const MIN_SESSION_DAYS = 7

/** Reads and writes the tables. Every method rejects with `DatabaseUnavailable` when the database is in trouble. */
export function createRepository({ pool, storePayloads = false }: RepositoryOptions) {
  const counts = { conflictRetries: 0 }

  /**
   * Applies changes in one transaction and answers after the commit, one result a change, in their order. May be repeated.
   * A change that PostgreSQL refuses fails alone: the others commit, and its message is kept as failed.
   */
  async function apply(changes: Change[]): Promise<ChangeResult[]> {
    if (changes.length === 0) return []
    try {
      return await inTransaction(
        pool,
        (client) => applyTogether(client, changes, storePayloads),
        () => {
          counts.conflictRetries += 1
        },
      )
    } catch (error) {
      if (!isDataError(error)) throw asUnavailable(error)
      if (changes.length === 1) return [await refuse(changes[0] as Change, error)]
      const half = changes.length >> 1
      return [...(await apply(changes.slice(0, half))), ...(await apply(changes.slice(half)))]
    }
  }

  async function refuse({ message }: Change, error: pg.DatabaseError): Promise<ChangeResult> {
    if (message) await fail(message, `${error.code}: ${error.message}`)
    return { error: withoutData(error) }
  }

  /** Keeps a message that cannot be used as failed, for a replay. Repeating it counts one more attempt. */
  async function fail(message: Message, reason: string): Promise<void> {
    await guarded(failMessage(pool, message, reason))
  }

  /** The rows of users and the states of their sessions, as they are now, in the order asked. */
  const findStates = (keys: AuthKey[]): Promise<AuthState[]> => guarded(findAuthStates(pool, keys))

  /** The row of a user and the state of a session, as they are now. */
  async function findAuthState(userId: string, sessionId: string | null): Promise<AuthState> {
    const [state] = await findStates([{ userId, sessionId }])
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

  /** Deletes old messages of the ledger unless another replica is at it. Returns how many. */
  const prune = (retentionDays: number) => guarded(pruneMessages(pool, retentionDays))

  /** The same for sessions that have been over for so long. Deliveries that Svix tries again must find them: a week at least. */
  const pruneSessions = (retentionDays: number) =>
    guarded(pruneFinalSessions(pool, Math.max(retentionDays, MIN_SESSION_DAYS)))

  return {
    apply,
    fail,
    findAuthState,
    findAuthStates: findStates,
    ledgerSummary,
    failedEvents,
    tableStatistics,
    dashboard,
    /** Users by id or exact address, for an operator. */
    searchUsers: (idOrEmail: string) => guarded(searchUsers(pool, idOrEmail)),
    prune,
    pruneSessions,
    counts,
  }
}

// The detail and the context may quote the data, which no log should.
function withoutData(error: pg.DatabaseError): pg.DatabaseError {
  error.detail = error.where = error.internalQuery = undefined
  return error
}

function asUnavailable(error: unknown): unknown {
  if (!isDatabaseTrouble(error)) return error
  return retryAfter(new DatabaseUnavailable({ cause: error }), RETRY_AFTER_MS)
}

async function guarded<T>(work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (error) {
    throw asUnavailable(error)
  }
}

async function applyTogether(client: Executor, changes: Change[], storePayloads: boolean): Promise<ChangeResult[]> {
  const messages = changes.flatMap(({ message }) => message ?? [])
  const claims = messages.length > 0 ? await claimMessages(client, messages, storePayloads) : new Map()
  const taken = new Set<string>()
  const isLive = changes.map(({ message }) => {
    if (!message) return true
    if (claims.get(message.id) === 'applied before' || taken.has(message.id)) return false
    taken.add(message.id)
    return true
  })
  const live = changes.filter((_, i) => isLive[i])

  const users = await applyUsers(client, live)
  const sessions = await applySessions(client, live)

  const settled: { message: Message; outcome: Outcome }[] = []
  const results = changes.map((change, i): ChangeResult => {
    if (!isLive[i]) return { outcome: 'duplicate', created: false }
    const { message } = change
    const user = change.user && users.get(change.user)
    const isApplied = user || (change.session && sessions.has(change.session))
    const outcome = !change.user && !change.session ? 'ignored' : isApplied ? 'applied' : 'stale'
    // Claimed as applied; only what turned out otherwise is written again.
    if (message && (outcome !== 'applied' || claims.get(message.id) === 'failed before')) {
      settled.push({ message, outcome })
    }
    const created = user?.created ?? false
    // Callers may share one snapshot: the first of them made the row.
    if (user) user.created = false
    return { outcome, created }
  })
  if (settled.length > 0) await settleMessages(client, settled, storePayloads)
  return results
}

/** Applies the user changes, and returns those that were written. */
async function applyUsers(client: Executor, changes: Change[]): Promise<Map<UserChange, { created: boolean }>> {
  const full: (UserSnapshot | UserDeletion)[] = []
  const partial: UserClaims[] = []
  for (const { user } of changes) {
    if (user?.kind === 'claims') partial.push(user)
    else if (user) full.push(user)
  }
  await lockWithoutRows(client, changes)
  const corrections = full.filter((change) => change.kind === 'snapshot' && change.corrects)
  if (corrections.length > 0) await rewindVersions(client, corrections as UserSnapshot[])

  const applied = new Map<UserChange, { created: boolean }>()
  const winners = newestById(full, supersedes)
  let waiting = partial.sort((a, b) => a.issuedAt - b.issuedAt)
  let round: UserChange[] = [...winners]
  while (round.length > 0 || waiting.length > 0) {
    // One statement holds one change an id. Later rounds name no id of which an earlier one did not take the lock.
    const ids = new Set(round.map(({ id }) => id))
    const later: UserClaims[] = []
    for (const claims of waiting) {
      if (ids.has(claims.id)) later.push(claims)
      else round.push(claims)
      ids.add(claims.id)
    }
    waiting = later
    const written = await upsertUsers(client, round)
    for (const change of round) {
      const created = written.get(change.id)
      if (created !== undefined) applied.set(change, { created })
    }
    round = []
  }
  // What says the same as the one that was written is as good as written.
  for (const winner of winners) {
    if (!applied.has(winner)) continue
    for (const change of full) {
      if (change.id === winner.id && !applied.has(change) && !supersedes(winner, change)) {
        applied.set(change, { created: false })
      }
    }
  }
  const deleted = winners.filter(({ kind }) => kind === 'deletion').map(({ id }) => id)
  if (deleted.length > 0) await endSessionsOf(client, deleted)
  return applied
}

function supersedes(a: UserSnapshot | UserDeletion, b: UserSnapshot | UserDeletion): boolean {
  if (a.kind === 'deletion' || b.kind === 'deletion') return a.kind === 'deletion' && b.kind !== 'deletion'
  return isNewer(a.version, b.version)
}

/** Applies the session states, and returns those that were written. */
async function applySessions(client: Executor, changes: Change[]): Promise<Set<unknown>> {
  const winners = newestById(
    changes.flatMap(({ session }) => session ?? []),
    isLaterState,
  )
  if (winners.length === 0) return new Set()
  const written = await upsertSessions(client, winners)
  return new Set(winners.filter(({ id }) => written.has(id)))
}

const lockUsers = statement(
  'users_lock',
  sql`select pg_advisory_xact_lock(${sql.raw(String(0x75736572))}, h)
  from (select distinct hashtext(id) as h from unnest(${$(1)}::text[]) as id order by h) hashes`,
)

/**
 * A deletion must see every session of its user, and a session must see the deletion. Both lock the row of the user, but a
 * session event without a user finds none that it may lock: those and deletions meet at an advisory lock.
 */
async function lockWithoutRows(client: Executor, changes: Change[]): Promise<void> {
  const ids = changes.flatMap(({ user, session }) => {
    if (user?.kind === 'deletion') return user.id
    return session && session.userId !== user?.id ? session.userId : []
  })
  if (ids.length > 0) await lockUsers(client, ids)
}
