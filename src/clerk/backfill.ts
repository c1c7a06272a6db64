/** Every user of a Clerk instance into the table, by the door that webhooks take, so that both may run at the same time. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Change, Outcome } from '../domain/change.ts'
import type { BulkApi } from './bulk-api.ts'
import { readAhead, type Step, type Trail, walkUsers } from './walk-users.ts'

/** Where a backfill is; kept in the database, so that the next one goes on from there. */
export interface BackfillPlace {
  trail: Trail
  /** Users done so far, by all runs together. */
  users: number
  startedAt: string
}

/** What a backfill needs of the database. */
export interface BackfillStore {
  /** In one transaction; rejects with a `statusCode` of 503 while the database is in trouble. */
  apply(changes: Change[]): Promise<({ outcome: Outcome; created: boolean } | { error: Error })[]>
  savePlace(place: BackfillPlace): Promise<void>
}

export interface BackfillOptions {
  api: Pick<BulkApi, 'listUsers'>
  store: BackfillStore
  /** Where an earlier run stopped. */
  from?: BackfillPlace
  /** No page is begun after it; what is being written is finished. */
  signal: AbortSignal
  onPage?: (counts: BackfillCounts) => void
  /** A user that cannot be stored. */
  onRefused?: (id: string, reason: string) => void
  onRetry?: (reason: string, waitMs: number) => void
  /** How long the database may be in trouble before the backfill gives up. */
  patienceMs?: number
}

export interface BackfillCounts {
  pages: number
  users: number
  created: number
  updated: number
  /** Already here, in this state or a newer one, or deleted here. */
  unchanged: number
  /** Users that could not be read or stored. */
  refused: number
}

export interface BackfillResult extends BackfillCounts {
  /** False when it was interrupted. */
  isComplete: boolean
  place: BackfillPlace
}

// Pages that are read while others are written, and pages in the course of being written: a few megabytes.
const READ_AHEAD = 3
const WRITES_AT_ONCE = 2
const DATABASE_RETRY_MS = 500

/**
 * Walks all users and writes them. The place is kept after each page, in their order, so that a run that is cut off
 * repeats a few pages at most. Rejects when Clerk or the database cannot be had for long; the place is kept then, too.
 */
export async function backfill(options: BackfillOptions): Promise<BackfillResult> {
  const { api, store, signal, onPage, onRefused } = options
  const counts: BackfillCounts = { pages: 0, users: 0, created: 0, updated: 0, unchanged: 0, refused: 0 }
  let place = options.from ?? { trail: [], users: 0, startedAt: new Date().toISOString() }
  const underWay: { step: Step; written: ReturnType<typeof write> }[] = []

  async function write({ users }: Step) {
    return persist(options, () => store.apply(users.map((user) => ({ user }))))
  }

  /** Waits for the page that is under way for longest, and moves the place behind it. */
  async function finishOldest(): Promise<void> {
    const { step, written } = underWay.shift() as (typeof underWay)[number]
    const results = await written.catch(async (error) => {
      // The place behind a later page would skip this one for ever: those are written again by the next run.
      await Promise.allSettled(underWay.splice(0).map((later) => later.written))
      throw error
    })
    for (const [index, result] of results.entries()) {
      if (!('error' in result)) counts[kindOf(result)] += 1
      else refuse((step.users[index] as { id: string }).id, result.error.message)
    }
    for (const { id, reason } of step.unusable) refuse(id, reason)
    counts.pages += 1
    counts.users += step.ids.length
    place = { ...place, trail: step.trail, users: place.users + step.ids.length }
    await persist(options, () => store.savePlace(place))
    onPage?.({ ...counts })
  }

  function refuse(id: string, reason: string): void {
    counts.refused += 1
    onRefused?.(id, reason)
  }

  const pages = readAhead(walkUsers(api, place.trail), READ_AHEAD)
  try {
    for await (const step of pages) {
      if (signal.aborted) break
      if (underWay.length === WRITES_AT_ONCE) await finishOldest()
      const written = write(step)
      written.catch(() => undefined) // finishOldest hears of it.
      underWay.push({ step, written })
    }
  } catch (error) {
    // What has been read is written all the same.
    while (underWay.length > 0) await finishOldest()
    if (!signal.aborted) throw error
  }
  while (underWay.length > 0) await finishOldest()
  return { ...counts, isComplete: !signal.aborted, place }
}

const kindOf = ({ outcome, created }: { outcome: Outcome; created: boolean }) =>
  created ? 'created' : outcome === 'applied' ? 'updated' : 'unchanged'

/** A failover takes a while: what the database could not do is tried again. */
async function persist<T>({ patienceMs = 60_000, onRetry }: BackfillOptions, work: () => Promise<T>): Promise<T> {
  const giveUpAt = performance.now() + patienceMs
  for (;;) {
    try {
      return await work()
    } catch (error) {
      if ((error as { statusCode?: number }).statusCode !== 503 || performance.now() >= giveUpAt) throw error
      onRetry?.('in trouble', DATABASE_RETRY_MS)
      await sleep(DATABASE_RETRY_MS)
    }
  }
}
