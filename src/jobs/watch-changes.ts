/**
 * Waits for changes on behalf of all readers of this process: each wake-up is one query for all of them. A wake-up is a `NOTIFY`
 * if the connection supports it (a pooler may not), otherwise a poll with growing pauses.
 */
import pg from 'pg'
import { type FeedPage, findLatest, readChanges } from '../db/changes/read.ts'
import { WAKE_UP_CHANNEL } from '../db/changes/trigger-sql.ts'
import type { Pool } from '../db/pool.ts'
import { isAfter, type Position } from '../domain/feed.ts'

export interface WatchOptions {
  pool: Pool
  /** For the connection that listens; without it there is only polling. */
  connectionString?: string
  /** The database did not answer; the query is retried. */
  onTrouble: (error: unknown) => void
}

export interface ChangeWatch {
  /** Reads the changes after a position, without waiting. Rejects with PostgreSQL's error. */
  read(after: Position | undefined, limit: number): Promise<FeedPage>
  /** The position after everything that can be read now. */
  latest(): Promise<Position>
  /** The changes after a position as soon as there are any; undefined if the signal aborts or the watch ends first. */
  wait(after: Position, limit: number, signal: AbortSignal): Promise<FeedPage | undefined>
  /** Whether a reader at this position has read everything that is known, so that it need not query the database. */
  isUpToDate(after: Position): boolean
  /** The number of waiting readers. */
  readonly waiting: number
  /** Ends all waits without changes. */
  end(): Promise<void>
}

interface Waiter {
  after: Position
  limit: number
  resolve: (page: FeedPage | undefined) => void
}

const PAGE = 1_000
const FIRST_PAUSE_MS = 10
// While `NOTIFY` works, polls only find changes that a broken connection missed. While changes are held back by an open transaction,
// only polls find them.
const LONGEST_PAUSE_MS = { listening: 5_000, polling: 1_000, held: 1_000 }
const RECONNECT_MS = 5_000

export function watchChanges({ pool, connectionString, onTrouble }: WatchOptions): ChangeWatch {
  const waiters = new Set<Waiter>()
  /** The newest position that was seen. */
  let seen: Position | undefined
  /** The highest transaction that a reader can have by now. */
  let horizon = 0n
  let pauseMs = FIRST_PAUSE_MS
  let timer: NodeJS.Timeout | undefined
  let isLooking = false
  let isWoken = false
  /** Whether a wake-up came since the last query. */
  let isStale = false
  let isEnded = false
  let isHeld = false
  let isListening = false
  const listener = connectionString === undefined ? undefined : listen(connectionString, pool.schema, onListen, wake)

  function onListen(listens: boolean): void {
    isListening = listens
    // Changes may have come while nobody listened.
    if (listens) wake()
  }

  function wake(): void {
    pauseMs = FIRST_PAUSE_MS
    isWoken = true
    isStale = true
    void look()
  }

  async function look(): Promise<void> {
    if (isLooking) return
    isLooking = true
    clearTimeout(timer)
    try {
      do {
        isWoken = false
        while (waiters.size > 0 && (await serve())) pauseMs = FIRST_PAUSE_MS
      } while (isWoken)
    } catch (error) {
      onTrouble(error)
    } finally {
      isLooking = false
      schedule()
    }
  }

  function schedule(): void {
    clearTimeout(timer)
    if (isEnded || waiters.size === 0) return
    timer = setTimeout(look, pauseMs).unref()
    const longest = LONGEST_PAUSE_MS[isHeld ? 'held' : isListening ? 'listening' : 'polling']
    pauseMs = Math.min(pauseMs * 2, longest)
  }

  /** Answers waiting readers with one query. Returns whether there may be more changes for the remaining ones. */
  async function serve(): Promise<boolean> {
    const present = [...waiters]
    const after = present.map((waiter) => waiter.after).reduce((a, b) => (isAfter(a, b) ? b : a))
    isStale = false
    const page = await readChanges(pool, after, PAGE)
    isHeld = page.isHeld
    note(page)
    const pages = new Map<string, FeedPage>()
    for (const waiter of present) {
      const key = `${waiter.after.xid} ${waiter.after.seq} ${waiter.limit}`
      const part = pages.get(key) ?? partOf(page, waiter)
      pages.set(key, part)
      if (part.entries.length > 0 && waiters.delete(waiter)) waiter.resolve(part)
    }
    return page.hasMore
  }

  function note(page: FeedPage): void {
    const last = page.entries.at(-1)?.position
    if (seen === undefined || (last && isAfter(last, seen))) seen = last ?? page.next
    noteHorizon(page.horizon)
  }

  function noteHorizon(xid: string): void {
    if (BigInt(xid) > horizon) horizon = BigInt(xid)
  }

  return {
    async read(after, limit) {
      isStale = false
      const page = await readChanges(pool, after, limit)
      if (!page.hasMore) note(page)
      return page
    },
    async latest() {
      const place = await findLatest(pool)
      noteHorizon(place.xid)
      return place
    },
    isUpToDate: (after) => !isStale && seen !== undefined && !isAfter(seen, after) && BigInt(after.xid) <= horizon,
    wait(after, limit, signal) {
      if (isEnded || signal.aborted) return Promise.resolve(undefined)
      const { promise, resolve } = Promise.withResolvers<FeedPage | undefined>()
      const waiter = { after, limit, resolve }
      waiters.add(waiter)
      const leave = () => {
        waiters.delete(waiter)
        resolve(undefined)
      }
      signal.addEventListener('abort', leave, { once: true })
      if (waiters.size === 1 && !isLooking) {
        pauseMs = FIRST_PAUSE_MS
        schedule()
      }
      return promise.finally(() => signal.removeEventListener('abort', leave))
    },
    get waiting() {
      return waiters.size
    },
    async end() {
      isEnded = true
      clearTimeout(timer)
      for (const { resolve } of waiters) resolve(undefined)
      waiters.clear()
      await listener?.end()
    },
  }
}

/** The part of a page for a reader that is further ahead than others, or wants fewer changes. */
function partOf(page: FeedPage, { after, limit }: Waiter): FeedPage {
  const rest = page.entries.filter(({ position }) => isAfter(position, after))
  const entries = rest.slice(0, limit)
  return {
    ...page,
    entries,
    next: entries.at(-1)?.position ?? after,
    hasMore: page.hasMore || rest.length > limit,
    // Only another reader's position can be expired: a waiting reader had already read everything.
    isExpired: false,
  }
}

/** Listens on a separate connection, and reconnects whenever it breaks. */
function listen(
  connectionString: string,
  schema: string,
  onListen: (listens: boolean) => void,
  onWakeUp: () => void,
): { end(): Promise<void> } {
  let client: pg.Client | undefined
  let timer: NodeJS.Timeout | undefined
  let isEnded = false

  async function connect(): Promise<void> {
    const fresh = new pg.Client({
      connectionString,
      application_name: 'clerk-session-sync listen',
      connectionTimeoutMillis: 5_000,
      query_timeout: 5_000,
      keepAlive: true,
    })
    client = fresh
    let isBroken = false
    const again = () => {
      if (isBroken) return
      isBroken = true
      fresh.end().catch(() => undefined)
      if (isEnded) return
      onListen(false)
      timer = setTimeout(connect, RECONNECT_MS).unref()
    }
    fresh.on('error', again)
    fresh.on('end', again)
    fresh.on('notification', ({ payload }) => {
      if (payload === schema) onWakeUp()
    })
    try {
      await fresh.connect()
      await fresh.query(`listen ${WAKE_UP_CHANNEL}`)
      if (!isBroken) onListen(true)
    } catch {
      again() // Polling reports the problem with the database.
    }
  }

  const connected = connect()
  return {
    async end() {
      isEnded = true
      clearTimeout(timer)
      await connected
      await client?.end().catch(() => undefined)
    },
  }
}
