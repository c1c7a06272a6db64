/** Isolates the changes of a batch, so that a fault or lock of one does not affect the others. */
import type { DatabaseError } from 'pg'
import type { Change } from '../domain/change.ts'
import { resources } from '../resources/index.ts'
import { type AppliedChange, type ApplyOptions, applyTogether } from './apply.ts'
import { OnChangeError } from './changes/on-change.ts'
import { type PgTable, sql } from './drizzle.ts'
import { isDataError, isLockTimeout } from './errors.ts'
import type { Pool } from './pool.ts'
import { webhookEvents } from './schema.ts'
import { $, type Executor, statement } from './statement.ts'

export interface IsolationOptions<Refused>
  extends Pick<ApplyOptions, 'storePayloads' | 'onRetry' | 'cause' | 'onChange'> {
  pool: Pool
  /** Handles a change that PostgreSQL or the application refuses. */
  refuse: (change: Change, error: DatabaseError | OnChangeError) => Promise<Refused>
}

/** A batch waits only briefly for a locked row, because its other changes wait too. */
const BATCH_LOCK_TIMEOUT_MS = 250
/** The number of groups that may wait for locked rows beside the batches. Beyond it, the batches wait too. */
const MAX_LATE = 4
/** A batch is not split any further after this time. */
const DIVIDING_MS = 3_000

/**
 * Makes the function that applies a batch and returns one result per change, in order. A change whose row is locked has a promise,
 * which rejects with PostgreSQL's error if the lock lasts. The function rejects if the database itself has a problem.
 */
export function createIsolation<Refused>({ pool, refuse, ...options }: IsolationOptions<Refused>) {
  type Result = AppliedChange | Refused
  let late = 0

  async function apply(changes: Change[], giveUpAt: number): Promise<(Result | Promise<Result>)[]> {
    const [change] = changes
    if (!change) return []
    try {
      return await applyTogether(pool, changes, { ...options, lockTimeoutMs: BATCH_LOCK_TIMEOUT_MS })
    } catch (error) {
      if (isLockTimeout(error)) return applyAroundLocks(changes, giveUpAt, error)
      if (!isRefusal(error)) throw error
      if (changes.length === 1) return [await refuse(change, error)]
    }
    return applyHalves(changes, giveUpAt)
  }

  async function applyHalves(changes: Change[], giveUpAt: number): Promise<(Result | Promise<Result>)[]> {
    const half = changes.length >> 1
    return [...(await apply(changes.slice(0, half), giveUpAt)), ...(await apply(changes.slice(half), giveUpAt))]
  }

  async function applyAroundLocks(changes: Change[], giveUpAt: number, error: unknown) {
    const found = changes.length > 1 ? await findLocked(pool, changes) : new Set(changes)
    // No locked row was found: a row is being inserted, or the lock has just been released.
    if (found.size === 0) {
      if (performance.now() > giveUpAt) throw error
      return applyHalves(changes, giveUpAt)
    }
    const isLate = (change: Change) => found.has(change)
    const free = await apply(
      changes.filter((change) => !isLate(change)),
      giveUpAt,
    )
    const waiting = applyLate(changes.filter(isLate))
    if (late > MAX_LATE) await waiting.catch(() => undefined)
    let n = 0
    return changes.map((change) => {
      if (!isLate(change)) return free.shift() as Result
      const place = n++
      const result = waiting.then((results) => results[place] as Result)
      result.catch(() => undefined) // The caller handles the rejection, unless the whole batch has failed before.
      return result
    })
  }

  /** Waits for the rows up to the pool's lock limit, then retries without those that are still locked. */
  async function applyLate(changes: Change[]): Promise<(Result | Promise<Result>)[]> {
    late += 1
    try {
      return await applyTogether(pool, changes, options)
    } catch (error) {
      const [change] = changes as [Change]
      if (changes.length === 1 && isRefusal(error)) return [await refuse(change, error)]
      if (isRefusal(error)) return await applyHalves(changes, performance.now())
      if (!isLockTimeout(error) || changes.length === 1) throw error
      const locked = await findLocked(pool, changes)
      const free = await apply(
        changes.filter((change) => !locked.has(change)),
        performance.now(),
      )
      return changes.map((change) => (locked.has(change) ? reject(error) : (free.shift() as Result)))
    } finally {
      late -= 1
    }
  }

  return (changes: Change[]) => apply(changes, performance.now() + DIVIDING_MS)
}

/** Whether the error is caused by a change, so that other changes may still succeed. */
const isRefusal = (error: unknown): error is DatabaseError | OnChangeError =>
  isDataError(error) || error instanceof OnChangeError

function reject(error: unknown): Promise<never> {
  const rejected = Promise.reject(error)
  rejected.catch(() => undefined)
  return rejected
}

/** Tries to lock the rows with these values as a writer would, skipping locked ones. Returns the values of the skipped rows. */
const lockedIn = (name: string, table: PgTable, column = sql.raw('id')) =>
  statement<{ id: string }>(
    `${name}_locked`,
    (
      t,
    ) => sql`with free as (select id from ${t(table)} where ${column} = any(${$(1)}::text[]) for no key update skip locked)
  select distinct ${column} as id from ${t(table)} where ${column} = any(${$(1)}::text[]) and id not in (select id from free)`,
  )

const probes = [
  { find: lockedIn('webhook_events', webhookEvents), idOf: ({ message }: Change) => message?.id },
  ...resources.map(({ name, table }) => ({
    find: lockedIn(name, table),
    idOf: (change: Change) => (change[name] as { id: string } | undefined)?.id,
  })),
  ...resources.flatMap(({ name, table, endedBy = [] }) =>
    endedBy.map(({ idOf, column }) => ({
      find: lockedIn(`${name}_${column.name}`, table, sql.raw(column.name)),
      idOf,
    })),
  ),
]

/** The changes with a locked row: their own, or one that they end. Rows that are being inserted are not visible. */
async function findLocked(executor: Executor, changes: readonly Change[]): Promise<ReadonlySet<Change>> {
  const found = new Set<Change>()
  for (const { find, idOf } of probes) {
    const ids = changes.flatMap((change) => idOf(change) ?? [])
    if (ids.length === 0) continue
    const locked = new Set((await find(executor, ids)).map(({ id }) => id))
    for (const change of changes) if (locked.has(idOf(change) ?? '')) found.add(change)
  }
  return found
}
