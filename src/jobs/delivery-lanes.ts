/**
 * Who is given which change when: a lane for each entity, so that its changes are delivered in their order, and one that fails
 * holds back those behind it and nobody else's.
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

/** What must be written down, so that another process can go on. */
export interface Keeper {
  /** The delivery is to be tried again, or waits, or was given up. */
  keep(item: Item, state: { isDead: boolean; error: string | null }): void
  /** The delivery that was kept is done. */
  remove(item: Item): void
}

export interface Item extends FeedEntry {
  attempts: number
  /** In ms since 1970; null while it has not failed. */
  nextAttemptAt: number | null
  /** Whether it is written down as a delivery of its own. Else the consumer's place stays before it. */
  isKept: boolean
  isDone: boolean
}

export interface LanesOptions {
  deliver: (entry: FeedEntry, attempt: number) => Promise<void>
  keeper: Keeper
  /** Deliveries under way at once. */
  concurrency: number
  scheduleMs: readonly number[]
  /** A delivery failed. */
  onFailure: (entry: FeedEntry, error: unknown, details: { attempt: number; isDead: boolean }) => void
  onDelivered: (entry: FeedEntry, details: { isFirstAttempt: boolean }) => void
  /** Something is done: there may be room for more. */
  onProgress: () => void
}

/** The deliveries of one entity. The first is under way, or ready, or waits for its time. */
interface Lane {
  items: Item[]
}

const MAX_TIMER_MS = 2 ** 31 - 1

/** A delivery that failed for a reason that may be written down. */
export class DeliveryError extends Error {
  override name = 'DeliveryError'
}

// What an application's error says may be about a person, and nothing of a person is kept here. The log has where it was thrown.
function describe(error: unknown): string {
  if (error instanceof DeliveryError) return error.message
  const { name = 'not an Error', code } = Object(error) as { name?: string; code?: string }
  return code === undefined ? name : `${name} ${code}`
}

export function createLanes(options: LanesOptions) {
  const { deliver, keeper, concurrency, scheduleMs, onFailure, onDelivered, onProgress } = options
  const lanes = new Map<string, Lane>()
  /** What was read and is not kept as a delivery of its own, in the order of the feed. */
  let unkept: Item[] = []
  /** Lanes whose first delivery may be made, in the order in which they became ready. */
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
    // Behind one that waits for its next attempt it does not hold up the consumer's place.
    if (lane.items.length > 1 && timers.has(lane)) keep(item, { isDead: false, error: null })
    if (lane.items.length === 1) arm(lane)
  }

  /** Makes the lane ready, now or when its first delivery is due. */
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
    /** Takes a change that was read from the feed. */
    read(entry: FeedEntry): void {
      add({ ...entry, attempts: 0, nextAttemptAt: null, isKept: false, isDone: false })
    },
    /** Takes a delivery that was kept before, unless it is here already. */
    resume(waiting: Waiting): void {
      if (!known.has(idOf(waiting))) add({ ...waiting, isKept: true, isDone: false })
    },
    /** The last place before which nothing is left that is not kept; undefined when that is all that was read. */
    firstOpen(): Position | undefined {
      const first = unkept.findIndex((item) => !item.isDone && !item.isKept)
      unkept = first === -1 ? [] : unkept.slice(first)
      return unkept[0]?.position
    },
    /** Changes that were read and are neither delivered nor kept, and deliveries that are kept to be made. */
    get counts() {
      return { open: unkept.length, kept }
    },
    /** Begins nothing more, and resolves when what is under way has ended, or takes too long. */
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
