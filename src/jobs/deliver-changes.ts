/**
 * Delivers every change of the feed to one consumer, at least once and in order for each entity. One process at a time does so,
 * by a lease; all progress is in the database, so that another process can take over.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import {
  findDue,
  findPlace,
  findWaiting,
  type Kept,
  keepDeliveries,
  moveTo,
  removeDeliveries,
} from '../db/changes/consumers.ts'
import type { FeedEntry } from '../db/changes/read.ts'
import { withLease } from '../db/lease.ts'
import type { Pool } from '../db/pool.ts'
import { type FeedType, isAfter, toCursor, typeOf } from '../domain/feed.ts'
import { createLanes, type Item, SVIX_SCHEDULE_MS } from './delivery-lanes.ts'
import type { ChangeWatch } from './watch-changes.ts'

export interface ConsumerOptions {
  /** The name under which the database keeps its progress. */
  name: string
  /** The types to deliver; all by default. */
  types?: readonly FeedType[]
  /** Delivers a change. If it rejects, the change is retried. */
  deliver: (entry: FeedEntry, attempt: number) => Promise<void>
  /** The number of parallel deliveries, of different entities. */
  concurrency: number
  /** The waits before the second, third… attempt; Svix's by default. */
  scheduleMs?: readonly number[]
}

export interface DeliveryEvents {
  onDelivered: (consumer: string, entry: FeedEntry, details: { isFirstAttempt: boolean }) => void
  onFailure: (consumer: string, entry: FeedEntry, error: unknown, details: { attempt: number; isDead: boolean }) => void
  /** Changes were pruned before they were delivered to this consumer. */
  onLost: (consumer: string) => void
  /** The database did not answer; the query is retried. */
  onTrouble: (consumer: string, error: unknown) => void
}

export interface DeliverOptions {
  pool: Pool
  watch: ChangeWatch
  signal: AbortSignal
  events: DeliveryEvents
  /** How long the delivering process may be silent before another one takes over; 15 s by default. */
  leaseTtlMs?: number
  /**
   * The number of changes to read ahead, so that one slow delivery does not delay those of other entities; 10,000 by default.
   */
  maxOpen?: number
  /**
   * The largest number of stored retries. Beyond it the consumer reads no further, so that the whole feed is not copied for a dead
   * receiver. 10,000 by default.
   */
  maxKept?: number
}

const LEASE_TTL_MS = 15_000
const PAGE = 500
const MAX_OPEN = 10_000
const MAX_KEPT = 10_000
const FLUSH_MS = 50
const LOOK_FOR_REVIVED_MS = 2_000
const RETRY_MS = 1_000
// Deliveries in progress may finish, but one that hangs must not keep the process from ending.
const STOP_MS = 5_000

/** Delivers until the signal aborts. Never rejects. */
export async function deliverChanges(consumer: ConsumerOptions, options: DeliverOptions): Promise<void> {
  const { pool, signal, events, leaseTtlMs = LEASE_TTL_MS } = options
  while (!signal.aborted) {
    try {
      await withLease(
        pool,
        `changes ${consumer.name}`,
        (lost) => deliverWhileAlone(consumer, { ...options, signal: AbortSignal.any([signal, lost]) }),
        { ttlMs: leaseTtlMs },
      )
    } catch (error) {
      if (!signal.aborted) events.onTrouble(consumer.name, error)
    }
    await pause(leaseTtlMs / 3, signal)
  }
}

const pause = (ms: number, signal: AbortSignal) => sleep(ms, undefined, { signal, ref: false }).catch(() => undefined)

async function deliverWhileAlone(consumer: ConsumerOptions, options: DeliverOptions): Promise<void> {
  const { pool, watch, events, maxOpen = MAX_OPEN, maxKept = MAX_KEPT } = options
  const { name, deliver, concurrency, scheduleMs = SVIX_SCHEDULE_MS } = consumer
  const over = new AbortController()
  const signal = AbortSignal.any([options.signal, over.signal])
  const types = consumer.types && new Set(consumer.types)
  /** Items that have changed since the last write. */
  const kept = new Map<Item, Kept>()
  const removed = new Set<Item>()
  /** Positions of deliveries that ended since due deliveries were last read. */
  let endedSince = new Set<string>()
  let place = await findPlace(pool, name)
  let written = place
  let progress = Promise.withResolvers<void>()

  const lanes = createLanes({
    deliver,
    concurrency,
    scheduleMs,
    keeper: {
      keep(item, state) {
        kept.set(item, { ...item, ...state })
        if (state.isDead) endedSince.add(toCursor(item.position))
      },
      remove(item) {
        kept.delete(item)
        removed.add(item)
        endedSince.add(toCursor(item.position))
      },
    },
    onDelivered: (entry, details) => events.onDelivered(name, entry, details),
    onFailure: (entry, error, details) => events.onFailure(name, entry, error, details),
    onProgress: () => progress.resolve(),
  })
  for (const waiting of await findWaiting(pool, name)) lanes.resume(waiting)

  /** Saves what has changed. If that fails, it is part of the next write. */
  async function flush(): Promise<void> {
    const [keeping, removing] = [[...kept], [...removed]]
    const open = lanes.firstOpen()
    // Just before the first open delivery.
    const done = open ? { xid: open.xid, seq: String(BigInt(open.seq) - 1n) } : place
    const isFurther = isAfter(done, written)
    const calls = [
      ...(keeping.length > 0
        ? [
            keepDeliveries(
              name,
              keeping.map(([, row]) => row),
            ),
          ]
        : []),
      ...(removing.length > 0
        ? [
            removeDeliveries(
              name,
              removing.map(({ position }) => position),
            ),
          ]
        : []),
      ...(isFurther ? [moveTo(name, done)] : []),
    ]
    if (calls.length === 0) return
    await pool.transact(calls)
    for (const [item, row] of keeping) if (kept.get(item) === row) kept.delete(item)
    for (const item of removing) removed.delete(item)
    if (isFurther) written = done
  }

  async function flushNowAndThen(): Promise<void> {
    while (!signal.aborted) {
      await pause(FLUSH_MS, signal)
      await flush()
    }
  }

  async function lookForRevived(): Promise<void> {
    while (!signal.aborted) {
      await pause(LOOK_FOR_REVIVED_MS, signal)
      if (kept.size > 0 || removed.size > 0) continue // The tables are not up to date yet.
      endedSince = new Set()
      for (const due of await findDue(pool, name)) {
        if (!signal.aborted && !endedSince.has(toCursor(due.position))) lanes.resume(due)
      }
    }
  }

  async function readOn(): Promise<void> {
    while (!signal.aborted) {
      progress = Promise.withResolvers()
      const limit = Math.min(PAGE, maxOpen - lanes.counts.open)
      if (limit <= 0 || lanes.counts.kept >= maxKept) {
        await Promise.race([progress.promise, pause(RETRY_MS, signal)])
        continue
      }
      const page = watch.isUpToDate(place) ? await watch.wait(place, limit, signal) : await watch.read(place, limit)
      if (page === undefined || signal.aborted) return
      if (page.isExpired) events.onLost(name)
      place = page.next
      for (const entry of page.entries) if (!types || types.has(typeOf(entry.change))) lanes.read(entry)
    }
  }

  try {
    await Promise.race([flushNowAndThen(), lookForRevived(), readOn()])
  } finally {
    over.abort()
    await lanes.stop(STOP_MS)
    await flush().catch(() => undefined) // Progress that could not be saved means that changes are delivered again.
  }
}
