/** Keeps the changes of a batch from each other: what is wrong with one is no matter of the others. */
import type { DatabaseError } from 'pg'
import type { Change } from '../domain/change.ts'
import { type AppliedChange, type ApplyOptions, applyTogether } from './apply.ts'
import { OnChangeError } from './changes/on-change.ts'
import { isDataError, isLockTimeout } from './errors.ts'
import { findLocked } from './locked-rows.ts'
import type { Pool } from './pool.ts'

export interface IsolationOptions<Refused>
  extends Pick<ApplyOptions, 'storePayloads' | 'onRetry' | 'cause' | 'onChange'> {
  pool: Pool
  /** What becomes of a change that PostgreSQL or the application refuses. */
  refuse: (change: Change, error: DatabaseError | OnChangeError) => Promise<Refused>
}

/** Others shall not wait long for a row that is not theirs. */
const BATCH_LOCK_TIMEOUT_MS = 250
/** Groups that wait for their rows beside the batches. With more, the batches wait too. */
const MAX_LATE = 4
/** A batch is divided no further after this long. */
const DIVIDING_MS = 3_000

/**
 * Makes the function that applies a batch: one result a change, in their order. Those whose rows are locked are promises, which
 * reject with PostgreSQL's error when the lock lasts. It rejects when the trouble is of the database itself.
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
    // A row that is being inserted, or a lock that was given up just now.
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
      result.catch(() => undefined) // Whoever asked hears of it, unless another change has failed all.
      return result
    })
  }

  /** Waits for the rows as long as the pool's limit lets it, then once more without those that are still locked. */
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

/** Whether it blames what was to be written, so that other changes may do better. */
const isRefusal = (error: unknown): error is DatabaseError | OnChangeError =>
  isDataError(error) || error instanceof OnChangeError

function reject(error: unknown): Promise<never> {
  const rejected = Promise.reject(error)
  rejected.catch(() => undefined)
  return rejected
}
