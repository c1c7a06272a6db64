/**
 * The write path: all statements of a batch of changes are sent at once, as one transaction. The SQL compares each change with its
 * row, and so decides its outcome.
 */
import type { Change, Message, Outcome } from '../domain/change.ts'
import type { Cause } from '../domain/feed.ts'
import { type AuthKey, type AuthState, authStateReads } from '../resources/auth-state.ts'
import { resources } from '../resources/index.ts'
import {
  type Entry,
  enterMessages,
  findKnownMessages,
  isKnownMessage,
  type KnownMessages,
  repeatMessages,
} from './ledger.ts'
import { lockObjects } from './locks.ts'
import type { Pool, TransactOptions } from './pool.ts'
import type { Written } from './resource.ts'
import type { Call } from './statement.ts'

/** The result of a change that was applied without an error. */
export interface AppliedChange {
  outcome: Outcome
  /** Whether it created a user's row. */
  created: boolean
  /** The state of the user and session that the change named in `returns`. */
  state?: AuthState
}

export interface ApplyOptions extends TransactOptions {
  storePayloads: boolean
}

// The resources whose changes lock objects, and those whose deletions erase payloads.
const locking = resources.filter(({ locksOf }) => locksOf)
const erasing = resources.flatMap(({ erasure }) => erasure ?? [])

const NONE_KNOWN: KnownMessages = { applied: new Set(), failed: new Set() }

/**
 * Applies the changes in one transaction, and resolves to one result per change, in order. The transaction is first sent as if all
 * messages were new, which saves a query. If the ledger has one of them, PostgreSQL rolls back, and the transaction is planned
 * again with the messages that the ledger has.
 */
export async function applyTogether(pool: Pool, changes: Change[], options: ApplyOptions): Promise<AppliedChange[]> {
  let known = NONE_KNOWN
  for (;;) {
    const batch = planBatch(changes, known, options.storePayloads)
    try {
      await pool.transact(batch.calls, { ...options, cause: options.cause ?? causeOf(changes), reads: batch.reads })
      return await withLost(pool, changes, batch, options)
    } catch (error) {
      if (!isKnownMessage(error)) throw error
    }
    const ids = changes.flatMap(({ message }) => message?.id ?? [])
    known = await findKnownMessages(pool, ids)
  }
}

/**
 * The results; changes whose message has disappeared from the ledger since it was read are applied now. This happens in a failover
 * to a standby that lacks the last commits.
 */
async function withLost(pool: Pool, changes: Change[], batch: Batch, options: ApplyOptions): Promise<AppliedChange[]> {
  const lost = batch.lostMessages()
  const isLost = ({ message }: Change) => message !== undefined && lost.has(message.id)
  const results = batch.results()
  if (lost.size === 0) return results
  const late = await applyTogether(pool, changes.filter(isLost), options)
  return changes.map((change, i) => (isLost(change) ? late.shift() : results[i]) as AppliedChange)
}

/**
 * Plans the statements of a batch. To avoid deadlocks, locks are always taken in the same order: objects that may have no row,
 * then the rows of each resource, then those of the ledger, each by id.
 */
function planBatch(changes: Change[], known: KnownMessages, storePayloads: boolean) {
  const entries = new Map<string, Entry>()
  const repeats = new Map<string, number>()
  // Of several deliveries of one message, only the first is applied.
  const isLive = changes.map((change) => {
    const { message } = change
    if (!message) return true
    if (known.applied.has(message.id)) {
      repeats.set(message.id, (repeats.get(message.id) ?? 0) + 1)
      return false
    }
    const entry = entries.get(message.id)
    if (entry) entry.deliveries += 1
    else entries.set(message.id, { change: change as Change & { message: Message }, deliveries: 1 })
    return entry === undefined
  })
  const live = changes.filter((_, i) => isLive[i])
  const keys = locking.flatMap(({ locksOf }) => live.flatMap((change) => locksOf?.(change) ?? []))
  const writings = resources.map(({ write }) => write(live))
  const entered = enterMessages([...entries.values()], known.failed, storePayloads)
  const counted = repeats.size > 0 ? [repeatMessages(repeats)] : []
  const asking = changes.filter(({ returns }) => returns !== undefined)
  const asked = authStateReads(asking.map(({ returns }) => returns as AuthKey))
  const calls: Call[] = [
    ...(keys.length > 0 ? [lockObjects.call(keys)] : []),
    ...writings.flatMap(({ calls }) => calls),
    ...erasing.flatMap((erasure) => erasure.calls(live)),
    ...entered.calls,
    ...counted,
  ]

  function results(): AppliedChange[] {
    const written = new Map<object, Written>()
    for (const writing of writings) for (const [state, how] of writing.written()) written.set(state, how)
    const outcomes = entered.outcomes()
    const returned = new Map(asked.states().map((state, i) => [asking[i], state]))
    return changes.map((change, i) => {
      if (!isLive[i]) return { outcome: 'duplicate', created: false }
      const states = statesOf(change)
      const outcome =
        (change.message && outcomes.get(change.message.id)) ??
        (states.length === 0 ? 'ignored' : states.some((state) => written.has(state)) ? 'applied' : 'stale')
      const created = states.some((state) => written.get(state)?.created)
      // Changes may share one snapshot. Only the first of them counts as the one that created the row.
      if (created) for (const state of states) written.set(state, { created: false })
      const state = returned.get(change)
      return { outcome, created, ...(state && { state }) }
    })
  }
  function lostMessages(): ReadonlySet<string> {
    const found = new Set([...entered.outcomes().keys(), ...counted.flatMap(({ rows }) => rows.map(({ id }) => id))])
    return new Set([...entries.keys(), ...repeats.keys()].filter((id) => !found.has(id)))
  }
  return { calls, reads: asked.calls, results, lostMessages }
}
type Batch = ReturnType<typeof planBatch>

function statesOf(change: Change): object[] {
  const states: object[] = []
  for (const { name } of resources) {
    const state = change[name]
    if (state !== undefined) states.push(state)
  }
  return states
}

/** The cause of a batch's row changes, in the format that the triggers read: one cause, or causes by id if they differ. */
function causeOf(changes: readonly Change[]): string {
  const causes = changes.map(causeOfOne)
  const main = causes.includes('webhook') ? 'webhook' : (causes[0] as Cause)
  if (causes.every((cause) => cause === main)) return main
  const byId: Record<string, Cause> = { '': main }
  for (const [i, change] of changes.entries()) {
    const cause = causes[i] as Cause
    for (const { name } of resources) {
      const { id } = (change[name] ?? {}) as { id?: string }
      // A snapshot's cause takes precedence over that of a token's claims about the same user.
      if (id !== undefined && (cause !== 'session_claims' || byId[id] === undefined)) byId[id] = cause
    }
  }
  return JSON.stringify(byId)
}

function causeOfOne({ message, user }: Change): Cause {
  if (message) return 'webhook'
  // The user part of a membership is a partial view, too, but of the Backend API.
  return user?.kind === 'claims' && user.source === undefined ? 'session_claims' : 'clerk_api'
}
