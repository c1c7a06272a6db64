/**
 * The one write path: everything that a batch of changes does is sent at once, as one transaction. PostgreSQL decides what
 * became of each change, by the rows.
 */
import type { Change, Message, Outcome } from '../domain/change.ts'
import { type AuthKey, type AuthState, authStateReads } from '../resources/auth-state.ts'
import { resources } from '../resources/index.ts'
import { causeOf } from './changes/cause.ts'
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

/** What became of a change that no error came in the way of. */
export interface AppliedChange {
  outcome: Outcome
  /** Whether it made a new row of a user. */
  created: boolean
  /** The state of the user and session that the change named in `returns`. */
  state?: AuthState
}

export interface ApplyOptions extends TransactOptions {
  storePayloads: boolean
}

const NONE_KNOWN: KnownMessages = { applied: new Set(), failed: new Set() }

/**
 * Applies the changes in one transaction, one result each, in their order. It is first sent as if the ledger knew none of the
 * messages; where it knows one, PostgreSQL undoes all of it, and it is sent again with what the ledger knows by then.
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

/** Applies what the ledger knew and has lost since it was asked, as in a failover to a standby that lacks the last commits. */
async function withLost(pool: Pool, changes: Change[], batch: Batch, options: ApplyOptions): Promise<AppliedChange[]> {
  const lost = batch.lostMessages()
  const isLost = ({ message }: Change) => message !== undefined && lost.has(message.id)
  const results = batch.results()
  if (lost.size === 0) return results
  const late = await applyTogether(pool, changes.filter(isLost), options)
  return changes.map((change, i) => (isLost(change) ? late.shift() : results[i]) as AppliedChange)
}

/**
 * Locks are taken in the same order everywhere: those of objects without a row, then the rows of each resource, then those
 * of the ledger, each by id.
 */
function planBatch(changes: Change[], known: KnownMessages, storePayloads: boolean) {
  const entries = new Map<string, Entry>()
  const repeats = new Map<string, number>()
  // Of several deliveries of one message the first is the live one.
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
  const keys = live.flatMap((change) => resources.flatMap(({ locksOf }) => locksOf?.(change) ?? []))
  const writings = resources.map(({ write }) => write(live))
  const entered = enterMessages([...entries.values()], known.failed, storePayloads)
  const counted = repeats.size > 0 ? [repeatMessages(repeats)] : []
  const asking = changes.filter(({ returns }) => returns !== undefined)
  const asked = authStateReads(asking.map(({ returns }) => returns as AuthKey))
  const calls: Call[] = [
    ...(keys.length > 0 ? [lockObjects.call(keys)] : []),
    ...writings.flatMap(({ calls }) => calls),
    ...resources.flatMap(({ erasure }) => erasure?.calls(live) ?? []),
    ...entered.calls,
    ...counted,
  ]

  function results(): AppliedChange[] {
    const written = new Map<object, Written>(writings.flatMap((writing) => [...writing.written()]))
    const outcomes = entered.outcomes()
    const returned = new Map(asked.states().map((state, i) => [asking[i], state]))
    return changes.map((change, i) => {
      if (!isLive[i]) return { outcome: 'duplicate', created: false }
      const states = resources.flatMap(({ name }) => change[name] ?? [])
      const outcome =
        (change.message && outcomes.get(change.message.id)) ??
        (states.length === 0 ? 'ignored' : states.some((state) => written.has(state)) ? 'applied' : 'stale')
      const created = states.some((state) => written.get(state)?.created)
      // Callers may share one snapshot: the first of them made the row.
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
