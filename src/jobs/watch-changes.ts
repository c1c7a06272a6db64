/**
 * One look-out for everybody in this process who waits for changes: however many wait, each wake-up is one query. A wake-up is
 * a `NOTIFY`, where the connection lets it through, and else a poll with growing pauses.
 */
import pg from 'pg'
import { type FeedPage, findLatest, readChanges } from '../db/changes/read.ts'
import { WAKE_UP_CHANNEL } from '../db/changes/trigger-sql.ts'
import type { Pool } from '../db/pool.ts'
import { isBehind, type Position } from '../domain/feed.ts'

export interface WatchOptions {
  pool: Pool
  /** For the connection that listens; without it there are only polls. */
  connectionString?: string
  /** The database did not answer; it is asked again. */
  onTrouble: (error: unknown) => void
}

export interface ChangeWatch {
  /** The changes after a place, at once. Rejects with PostgreSQL's error. */
  read(after: Position | undefined, limit: number): Promise<FeedPage>
  /** The place behind everything that may be read now. */
  latest(): Promise<Position>
  /** The changes after a place as soon as there are any; undefined when the signal aborts, or the watch ends, before that. */
  wait(after: Position, limit: number, signal: AbortSignal): Promise<FeedPage | undefined>
  /** Whether a reader at this place is not behind what was seen last, and need not ask the database. */
  isUpToDate(after: Position): boolean
  /** How many wait. */
  readonly waiting: number
  /** Answers everybody who waits with nothing. */
  end(): Promise<void>
}

interface Waiter {
  after: Position
  limit: number
  resolve: (page: FeedPage | undefined) => void
}

const PAGE = 1_000
const FIRST_PAUSE_MS = 10
// While `NOTIFY` works, a poll only finds what a lost connection has missed.
const LONGEST_PAUSE_MS = { listening: 5_000, polling: 1_000, held: 1_000 }
const RECONNECT_MS = 5_000

export function watchChanges({ pool, connectionString, onTrouble }: WatchOptions): ChangeWatch {
  const waiters = new Set<Waiter>()
  /** The newest change that was seen, or where there was none; and up to where a place can be by now. */
  let seen: Position | undefined
  let horizon = 0n
  let pauseMs = FIRST_PAUSE_MS
  let timer: NodeJS.Timeout | undefined
  let isLooking = false
  let isWoken = false
  /** Whether something has come since the database was asked last. */
  let isStale = false
  let isEnded = false
  let isHeld = false
  let isListening = false
  const listener = connectionString === undefined ? undefined : listen(connectionString, pool.schema, onListen, wake)

  function onListen(listens: boolean): void {
    isListening = listens
    // What came while nobody listened.
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

  /** Answers whom it can by one query. Says whether there may be more for those who are left. */
  async function serve(): Promise<boolean> {
    const present = [...waiters]
    const after = present.map((waiter) => waiter.after).reduce((a, b) => (isBehind(a, b) ? b : a))
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
    if (seen === undefined || (last && isBehind(last, seen))) seen = last ?? page.next
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
    isUpToDate: (after) => !isStale && seen !== undefined && !isBehind(seen, after) && BigInt(after.xid) <= horizon,
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

/** What a reader that is further than the others, or wants less, gets of a page. */
function partOf(page: FeedPage, { after, limit }: Waiter): FeedPage {
  const rest = page.entries.filter(({ position }) => isBehind(position, after))
  const entries = rest.slice(0, limit)
  return {
    ...page,
    entries,
    next: entries.at(-1)?.position ?? after,
    hasMore: page.hasMore || rest.length > limit,
    // Of somebody else's place: whoever waits has read up to what was there by then.
    isExpired: false,
  }
}

/** A connection of its own that listens, and is made again whenever it breaks. */
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
      again() // Polls say what is wrong with the database.
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
