/**
 * Schedules deliveries: a lane for each entity keeps its changes in order, so that a failed delivery holds back only later changes
 * of the same entity.
 */
import type { Waiting } from '../db/changes/consumers.ts'
import type { FeedEntry } from '../db/changes/read.ts'
import type { Position } from '../domain/feed.ts'

/** Svix's schedule: the waits before the second, third… attempt (https://docs.svix.com/retries). */
export const SVIX_SCHEDULE_MS: readonly number[] = [
  5,
  5 * 60,
  30 * 60,
  2 * 3_600,
  5 * 3_600,
  10 * 3_600,
  10 * 3_600,
].map((seconds) => seconds * 1_000)

/** Stores retries, so that another process can continue. */
export interface Keeper {
  /** Stores a delivery that will be retried, waits behind one, or was given up. */
  keep(item: Item, state: { isDead: boolean; error: string | null }): void
  /** Removes a stored delivery that has succeeded. */
  remove(item: Item): void
}

export interface Item extends FeedEntry {
  attempts: number
  /** The next attempt, in ms since 1970; null if none is scheduled. */
  nextAttemptAt: number | null
  /** Whether it has a stored row. Until then, the consumer's position stays before it. */
  isKept: boolean
  isDone: boolean
}

export interface LanesOptions {
  deliver: (entry: FeedEntry, attempt: number) => Promise<void>
  keeper: Keeper
  /** The number of parallel deliveries. */
  concurrency: number
  scheduleMs: readonly number[]
  /** A delivery failed. */
  onFailure: (entry: FeedEntry, error: unknown, details: { attempt: number; isDead: boolean }) => void
  onDelivered: (entry: FeedEntry, details: { isFirstAttempt: boolean }) => void
  /** A delivery has ended, so there may be room for more. */
  onProgress: () => void
}

/** The deliveries of one entity. The first is in progress, ready, or waiting for its retry time. */
interface Lane {
  items: Item[]
}

const MAX_TIMER_MS = 2 ** 31 - 1

/** A failed delivery whose message contains no personal data, so that it may be stored. */
export class DeliveryError extends Error {
  override name = 'DeliveryError'
}

// An application's error message may contain personal data, so only its name and code are stored.
function describe(error: unknown): string {
  if (error instanceof DeliveryError) return error.message
  const { name = 'not an Error', code } = Object(error) as { name?: string; code?: string }
  return code === undefined ? name : `${name} ${code}`
}

export function createLanes(options: LanesOptions) {
  const { deliver, keeper, concurrency, scheduleMs, onFailure, onDelivered, onProgress } = options
  const lanes = new Map<string, Lane>()
  /** Items that were read and have no stored row, in the order of the feed. */
  let unkept: Item[] = []
  /** Lanes whose first delivery is ready, in the order in which they became so. */
  const ready = new Set<Lane>()
  const timers = new Map<Lane, NodeJS.Timeout>()
  const known = new Set<string>()
  let underWay = 0
  let kept = 0
  let isStopped = false
  let whenIdle: (() => void) | undefined

  const keyOf = ({ change }: FeedEntry) => `${change.entity} ${change.entityId}`
  const idOf = ({ position }: FeedEntry) => `${position.xid} ${position.seq}`

  function keep(item: Item, state: { isDead: boolean; error: string | null }): void {
    if (!item.isKept) {
      item.isKept = true
      kept += 1
    }
    keeper.keep(item, state)
  }

  function add(item: Item): void {
    const lane = lanes.get(keyOf(item)) ?? { items: [] }
    lanes.set(keyOf(item), lane)
    known.add(idOf(item))
    lane.items.push(item)
    if (item.isKept) kept += 1
    else unkept.push(item)
    // Behind a waiting retry it is stored too, so that it does not hold back the consumer's position.
    if (lane.items.length > 1 && timers.has(lane)) keep(item, { isDead: false, error: null })
    if (lane.items.length === 1) arm(lane)
  }

  /** Makes the lane ready now, or when its first delivery is due. */
  function arm(lane: Lane): void {
    const [first] = lane.items as [Item]
    const waitMs = (first.nextAttemptAt ?? 0) - Date.now()
    if (waitMs <= 0) {
      ready.add(lane)
      start()
      return
    }
    timers.set(
      lane,
      setTimeout(
        () => {
          timers.delete(lane)
          arm(lane)
        },
        Math.min(waitMs, MAX_TIMER_MS),
      ).unref(),
    )
  }

  function start(): void {
    for (const lane of ready) {
      if (isStopped || underWay >= concurrency) return
      ready.delete(lane)
      void attempt(lane, lane.items[0] as Item)
    }
  }

  async function attempt(lane: Lane, item: Item): Promise<void> {
    underWay += 1
    item.attempts += 1
    try {
      await deliver(item, item.attempts)
      onDelivered(item, { isFirstAttempt: item.attempts === 1 })
      if (item.isKept) keeper.remove(item)
      leave(lane, item)
    } catch (error) {
      if (!isStopped) fail(lane, item, error)
    } finally {
      underWay -= 1
      if (underWay === 0) whenIdle?.()
      start()
      onProgress()
    }
  }

  function fail(lane: Lane, item: Item, error: unknown): void {
    const waitMs = scheduleMs[item.attempts - 1]
    const isDead = waitMs === undefined
    onFailure(item, error, { attempt: item.attempts, isDead })
    item.nextAttemptAt = isDead ? null : Date.now() + waitMs
    keep(item, { isDead, error: describe(error) })
    if (isDead) {
      leave(lane, item)
      return
    }
    arm(lane)
    for (const behind of lane.items) if (!behind.isKept) keep(behind, { isDead: false, error: null })
  }

  function leave(lane: Lane, item: Item): void {
    item.isDone = true
    if (item.isKept) kept -= 1
    known.delete(idOf(item))
    lane.items.shift()
    if (lane.items.length === 0) lanes.delete(keyOf(item))
    else arm(lane)
  }

  return {
    /** Adds a change that was read from the feed. */
    read(entry: FeedEntry): void {
      add({ ...entry, attempts: 0, nextAttemptAt: null, isKept: false, isDone: false })
    },
    /** Adds a stored delivery, unless it is already here. */
    resume(waiting: Waiting): void {
      if (!known.has(idOf(waiting))) add({ ...waiting, isKept: true, isDone: false })
    },
    /** The position of the first unfinished item without a stored row; undefined if there is none. */
    firstOpen(): Position | undefined {
      const first = unkept.findIndex((item) => !item.isDone && !item.isKept)
      unkept = first === -1 ? [] : unkept.slice(first)
      return unkept[0]?.position
    },
    /** The number of unfinished items without a stored row, up to the last call of `firstOpen`, and of stored retries. */
    get counts() {
      return { open: unkept.length, kept }
    },
    /** Starts no more deliveries, and resolves when those in progress have ended or take too long. */
    async stop(patienceMs: number): Promise<void> {
      isStopped = true
      for (const timer of timers.values()) clearTimeout(timer)
      if (underWay === 0) return
      await new Promise<void>((done) => {
        const timer = setTimeout(done, patienceMs)
        whenIdle = () => {
          clearTimeout(timer)
          done()
        }
      })
    },
  }
}
