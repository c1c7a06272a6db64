/**
 * The one write path: everything that a batch of changes does is sent at once, as one transaction. PostgreSQL decides what
 * became of each change, by the rows.
 */
import type { Change, Message, Outcome } from '../domain/change.ts'
import { resources } from '../resources/index.ts'
import { eraseBodiesAbout } from '../resources/user/erase.ts'
import { type Entry, enterMessages, findApplied, isRepeatedMessage, repeatMessages } from './ledger.ts'
import { lockObjects } from './locks.ts'
import type { Pool, TransactOptions } from './pool.ts'
import type { Written } from './resource.ts'
import type { Call } from './statement.ts'

/** What became of a change that no error came in the way of. */
export interface AppliedChange {
  outcome: Outcome
  /** Whether it made a new row of a user. */
  created: boolean
}

export interface ApplyOptions extends TransactOptions {
  storePayloads: boolean
}

/**
 * Applies the changes in one transaction, one result each, in their order. It is first sent as if no message had been applied
 * before; where one was, PostgreSQL undoes all of it, and it is sent again without the changes of that message.
 */
export async function applyTogether(pool: Pool, changes: Change[], options: ApplyOptions): Promise<AppliedChange[]> {
  let repeated: ReadonlySet<string> = new Set()
  for (;;) {
    const batch = planBatch(changes, repeated, options.storePayloads)
    try {
      await pool.transact(batch.calls, options)
      const missing = batch.missingRepeats()
      if (missing.length === 0) return batch.results()
      // No longer in the ledger, as after a failover. Their changes have not been applied: nothing else has changed since.
      repeated = new Set([...repeated].filter((id) => !missing.includes(id)))
    } catch (error) {
      if (!isRepeatedMessage(error)) throw error
      const ids = changes.flatMap(({ message }) => message?.id ?? [])
      repeated = new Set(await findApplied(pool, ids))
    }
  }
}

/**
 * Locks are taken in the same order everywhere: those of objects without a row, then the rows of each resource, then those
 * of the ledger, each by id.
 */
function planBatch(changes: Change[], repeated: ReadonlySet<string>, storePayloads: boolean) {
  const entries = new Map<string, Entry>()
  const repeats = new Map<string, number>()
  const live: Change[] = []
  for (const change of changes) {
    const { message } = change
    if (message && repeated.has(message.id)) {
      repeats.set(message.id, (repeats.get(message.id) ?? 0) + 1)
      continue
    }
    const entry = message && entries.get(message.id)
    if (entry) {
      entry.deliveries += 1
      continue
    }
    live.push(change)
    if (message) entries.set(message.id, { change: change as Change & { message: Message }, deliveries: 1 })
  }
  const keys = live.flatMap((change) => resources.flatMap(({ locksOf }) => locksOf?.(change) ?? []))
  const deleted = live.flatMap(({ user }) => (user?.kind === 'deletion' ? user.id : []))
  const writings = resources.map(({ write }) => write(live))
  const entered = entries.size > 0 ? enterMessages([...entries.values()], storePayloads) : undefined
  const counted = repeats.size > 0 ? repeatMessages(repeats) : undefined
  const calls: (Call | undefined)[] = [
    keys.length > 0 ? lockObjects.call(keys) : undefined,
    ...writings.flatMap(({ calls }) => calls),
    deleted.length > 0 ? eraseBodiesAbout(deleted) : undefined,
    entered as Call | undefined,
    counted as Call | undefined,
  ]

  function results(): AppliedChange[] {
    const written = new Map<object, Written>(writings.flatMap((writing) => [...writing.written()]))
    const outcomes = new Map(entered?.rows.map(({ id, outcome }) => [id, outcome]))
    const isLive = new Set(live)
    return changes.map((change) => {
      // Of several deliveries of one message the first is the live one.
      if (!isLive.delete(change)) return { outcome: 'duplicate', created: false }
      const states = resources.flatMap(({ name }) => change[name] ?? [])
      const outcome =
        (change.message && outcomes.get(change.message.id)) ??
        (states.length === 0 ? 'ignored' : states.some((state) => written.has(state)) ? 'applied' : 'stale')
      const created = states.some((state) => written.get(state)?.created)
      // Callers may share one snapshot: the first of them made the row.
      if (created) for (const state of states) written.set(state, { created: false })
      return { outcome, created }
    })
  }
  return {
    calls: calls.filter((call) => call !== undefined),
    results,
    missingRepeats: () => [...repeats.keys()].filter((id) => !counted?.rows.some((row) => row.id === id)),
  }
}
