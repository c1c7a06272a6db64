/**
 * Gives one consumer of the change feed every change, at least once and in order for each entity. Of all processes that share
 * the database one does it at a time, by a lease; what another needs in order to go on is in the database.
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
import { type FeedType, isBehind, toCursor, typeOf } from '../domain/feed.ts'
import { createLanes, type Item, SVIX_SCHEDULE_MS } from './delivery-lanes.ts'
import type { ChangeWatch } from './watch-changes.ts'

export interface ConsumerOptions {
  /** Under which the database remembers how far it is. */
  name: string
  /** The types that it wants; all by default. */
  types?: readonly FeedType[]
  /** Delivers a change. What it rejects with is tried again. */
  deliver: (entry: FeedEntry, attempt: number) => Promise<void>
  /** Deliveries under way at once, of different entities. */
  concurrency: number
  /** The waits before the second, third… attempt; Svix's by default. */
  scheduleMs?: readonly number[]
}

export interface DeliveryEvents {
  onDelivered: (consumer: string, entry: FeedEntry, details: { isFirstAttempt: boolean }) => void
  onFailure: (consumer: string, entry: FeedEntry, error: unknown, details: { attempt: number; isDead: boolean }) => void
  /** Changes were pruned before this consumer was given them. */
  onLost: (consumer: string) => void
  /** The database did not answer; it is tried again. */
  onTrouble: (consumer: string, error: unknown) => void
}

export interface DeliverOptions {
  pool: Pool
  watch: ChangeWatch
  signal: AbortSignal
  events: DeliveryEvents
  /** After this long without a sign of life of who delivers, another process does; 15 s by default. */
  leaseTtlMs?: number
  /**
   * Changes that are read ahead of what is delivered, so that one delivery that takes its time keeps no other waiting; 10,000 by
   * default.
   */
  maxOpen?: number
  /**
   * Deliveries that are kept to be made. With as many the consumer reads no further: a receiver that is dead shall not have the
   * whole feed copied for it. 10,000 by default.
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
// A delivery that is under way may end; one that hangs may not keep the process from ending.
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
  /** What has changed since it was written down last, by the item. */
  const kept = new Map<Item, Kept>()
  const removed = new Set<Item>()
  /** Places of deliveries that ended since those that are due were last asked for. */
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

  /** Writes down what has changed. What fails is in the next write. */
  async function flush(): Promise<void> {
    const [keeping, removing] = [[...kept], [...removed]]
    const open = lanes.firstOpen()
    // Just before the first that is open.
    const done = open ? { xid: open.xid, seq: String(BigInt(open.seq) - 1n) } : place
    const isFurther = isBehind(done, written)
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
      if (kept.size > 0 || removed.size > 0) continue // The tables are not yet as things are.
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
    await flush().catch(() => undefined) // What is not written down is delivered once more.
  }
}
