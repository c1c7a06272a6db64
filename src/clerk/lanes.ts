/**
 * Reads all users of a Clerk instance in lanes: ranges of creation time that are read in parallel, because within a range each page
 * has to wait for the previous one. A finished lane takes over half of the largest one. Creation times never change, so concurrent
 * updates and deletions skip nobody; users created meanwhile are at the end of the last lane.
 */
import { ClerkRefusal, ClerkUnavailable } from './api-errors.ts'
import { type BackendApi, PAGE_SIZE, type UserPage } from './backend-api.ts'

/** A range that is left to read. Times are milliseconds since 1970; a missing bound is open. */
export interface Lane {
  /** Exclusive. Moved up after each page, so that the lane can go on without its cursor if Clerk no longer knows that user. */
  after?: number
  /** Exclusive. */
  before?: number
  /** The id of the last user of the last page. */
  cursor?: string
}

export interface LaneWalkOptions {
  api: Pick<BackendApi, 'listUsers' | 'countUsers'>
  /** The number of users; few users need no lanes. */
  total: number
  /** The number of parallel lanes; default 8. */
  lanes?: number
  /** The ranges that an earlier walk left; default all users. */
  from?: readonly Lane[]
  /** After it aborts no page is requested; pages that were read are still passed to `take`. */
  signal?: AbortSignal
  /** Called with each page, in parallel for different lanes and in order within one. The lane continues when it resolves. */
  take: (page: UserPage) => Promise<void>
  /** Called when a page was taken, before the lane's next page is. */
  onTaken?: () => Promise<void>
}

export interface LaneWalk {
  /** Resolves when everything is read or the signal has aborted; rejects with the first error of Clerk or `take`. Call it once. */
  run(): Promise<void>
  /** The ranges that are not taken yet, for a later walk. The last one is open at its end, for users created later. */
  left(): Lane[]
}

export const DEFAULT_LANES = 8

/** A lane that is being read. */
interface Running extends Lane {
  /** The filter of requests. Clerk requires the same one for all pages, so a lane that was split is cut off locally. */
  filter: { createdAfter?: number; createdBefore?: number }
  /** The creation time of the last user that was read. */
  readTo: number
  /** The number of users left to read, if known. */
  remaining?: number
  isBeingSplit: boolean
  /** Splitting it again would gain nothing. */
  isWhole: boolean
}

// Finding the split takes one or two requests, as long as reading that many pages.
const MIN_TO_SPLIT = 3 * PAGE_SIZE
/** Each part of a split has at least this share. */
const MIN_SHARE = 0.3

/** Makes a walk over all users, which starts with `run()`. */
export function createLaneWalk({
  api,
  total,
  lanes = DEFAULT_LANES,
  from = [{}],
  signal,
  take,
  onTaken,
}: LaneWalkOptions): LaneWalk {
  const waiting: Running[] = from.map(toRunning)
  const active = new Set<Running>()
  const splits = new Set<Promise<Running | undefined>>()
  let read = 0
  let isFailed = false
  /** The end of the last lane. */
  let end: Lane | undefined
  let newest = Number.NaN
  const hasToStop = () => isFailed || signal?.aborted === true
  const isAbort = (error: Error) => signal?.aborted === true && (error === signal.reason || error.name === 'AbortError')

  async function run(): Promise<void> {
    const atOnce = Math.max(1, Math.min(lanes, Math.ceil(total / PAGE_SIZE)))
    const isNew = waiting.length === 1 && waiting[0]?.after === undefined && waiting[0]?.cursor === undefined
    if (isNew && atOnce > 1) await divide(atOnce)
    const workers = await Promise.allSettled(Array.from({ length: atOnce }, work))
    for (const worker of workers) if (worker.status === 'rejected' && !isAbort(worker.reason)) throw worker.reason
  }

  /** Divides the whole time range into equal parts. */
  async function divide(parts: number): Promise<void> {
    const edge = async (orderBy: 'created_at' | '-created_at') =>
      (await api.listUsers({ orderBy, limit: 1 })).createdAt[0] ?? Number.NaN
    const [oldest, last] = await Promise.all([edge('created_at'), edge('-created_at')])
    newest = last
    const width = Math.floor((newest - oldest) / parts)
    if (!(width > 0)) return
    const cuts = Array.from({ length: parts - 1 }, (_, at) => oldest + width * (at + 1))
    waiting.length = 0
    for (let at = 0; at < parts; at += 1) waiting.push(toRunning({ ...lowerCut(cuts[at - 1]), ...upperCut(cuts[at]) }))
  }

  async function work(): Promise<void> {
    try {
      for (let lane = await findWork(); lane; lane = await findWork()) {
        await walk(lane)
        if (hasToStop()) return
        active.delete(lane)
        if (lane.before === undefined) end = toLane(lane)
      }
    } catch (error) {
      isFailed = true
      throw error
    }
  }

  /** The next lane to read; undefined if no lane is worth splitting any more. */
  async function findWork(): Promise<Running | undefined> {
    while (!hasToStop()) {
      const next = waiting.shift()
      if (next) return begin(next)
      const largest = await findLargest()
      if (largest) {
        const split = splitOff(largest)
        splits.add(split)
        const lane = await split.finally(() => splits.delete(split))
        if (lane) return lane
      } else if (splits.size > 0) {
        await Promise.race(splits)
      } else return undefined
    }
    return undefined
  }

  /** Synchronous, so that each lane is always either waiting or active, and `left()` misses none. */
  function begin(lane: Running): Running {
    active.add(lane)
    return lane
  }

  async function findLargest(): Promise<Running | undefined> {
    if (total - read < MIN_TO_SPLIT) return undefined
    const candidates = [...active].filter((lane) => !lane.isBeingSplit && !lane.isWhole)
    await Promise.all(
      candidates.map(async (lane) => {
        lane.remaining ??= await api.countUsers({ createdAfter: behind(lane), createdBefore: lane.before })
      }),
    )
    return candidates
      .filter((lane) => active.has(lane) && !lane.isBeingSplit && (lane.remaining as number) >= MIN_TO_SPLIT)
      .sort((a, b) => (b.remaining as number) - (a.remaining as number))[0]
  }

  /** Splits the later part off a lane; undefined if the lane has advanced too far meanwhile, or cannot be split. */
  async function splitOff(lane: Running): Promise<Running | undefined> {
    lane.isBeingSplit = true
    try {
      let low = lane.readTo
      let high = lane.before ?? Math.max(newest || Date.now(), low) + 1
      for (;;) {
        const middle = Math.floor((low + high) / 2)
        if (middle <= low) break
        const upper = await api.countUsers({ createdAfter: middle - 1, createdBefore: lane.before })
        const remaining = lane.remaining as number
        if (hasToStop() || !active.has(lane) || remaining < MIN_TO_SPLIT) return undefined
        // If the lane has passed the middle meanwhile, less is left of it than of the upper part.
        if (upper < remaining * MIN_SHARE) high = middle
        else if (upper > remaining * (1 - MIN_SHARE)) low = middle
        else {
          const part = toRunning({ ...lowerCut(middle), ...upperCut(lane.before) })
          part.remaining = upper
          lane.before = middle
          lane.remaining = remaining - upper
          return begin(part)
        }
      }
      lane.isWhole = true
      return undefined
    } finally {
      lane.isBeingSplit = false
    }
  }

  /** Reads a lane to its end, and requests the next page while the previous one is taken. */
  async function walk(lane: Running): Promise<void> {
    let asked: string | undefined
    let next: Promise<UserPage> | undefined = listAfter(lane, lane.cursor)
    while (next) {
      const page: UserPage = await next
      const last = page.ids.at(-1)
      if (last !== undefined && last === asked) throw new ClerkUnavailable(NO_CURSORS)
      asked = last
      const cut = cutOff(page, lane.before)
      lane.readTo = lastOf(cut.createdAt) ?? lane.readTo
      read += cut.ids.length
      if (lane.remaining !== undefined) lane.remaining -= cut.ids.length
      const isEnd = cut.ids.length < PAGE_SIZE || hasToStop()
      next = isEnd ? undefined : listAfter(lane, last)
      next?.catch(() => undefined) // Awaited after this page is taken.
      if (cut.ids.length > 0) {
        await take(cut)
        moveUp(lane, cut)
        await onTaken?.()
      }
      if (hasToStop()) return
    }
  }

  /** The page after a user; if Clerk no longer knows that user, the page from the time of the last page on. */
  async function listAfter(lane: Running, cursor: string | undefined): Promise<UserPage> {
    try {
      return await api.listUsers({ ...lane.filter, orderBy: 'created_at', startingAfter: cursor })
    } catch (error) {
      const isCursor = error instanceof ClerkRefusal && [400, 404, 422].includes(error.status)
      if (!isCursor || cursor === undefined) throw error
      lane.filter = { ...lane.filter, createdAfter: behind(lane) }
      return api.listUsers({ ...lane.filter, orderBy: 'created_at' })
    }
  }

  return {
    run,
    left: () => {
      const open = [...waiting, ...active].map(toLane)
      return end && open.every(({ before }) => before !== undefined) ? [...open, end] : open
    },
  }
}

const NO_CURSORS = 'it returns the same page repeatedly, and does not support starting_after'

const lowerCut = (at: number | undefined) => (at === undefined ? {} : { after: at - 1 })
const upperCut = (at: number | undefined) => (at === undefined ? {} : { before: at })

function toRunning(lane: Lane): Running {
  const { after, before } = lane
  const filter = { createdAfter: after, createdBefore: before }
  return { ...lane, filter, readTo: (after ?? -1) + 1, isBeingSplit: false, isWhole: false }
}

const toLane = ({ after, before, cursor }: Lane): Lane => ({
  ...(after !== undefined && { after }),
  ...(before !== undefined && { before }),
  ...(cursor !== undefined && { cursor }),
})

/** The time from which a lane has still to read; undefined if it starts with the first user and has read nothing. */
const behind = ({ readTo }: Running) => (readTo === 0 ? undefined : readTo - 1)

const lastOf = (createdAt: UserPage['createdAt']) => createdAt.findLast((at) => at !== undefined)

/** Moves the lane past a page that was taken. */
function moveUp(lane: Running, page: UserPage): void {
  lane.cursor = page.ids.at(-1)
  const last = lastOf(page.createdAt)
  if (last !== undefined) lane.after = last - 1
}

/** The page without users created at `before` or later, which belong to another lane by now. */
function cutOff(page: UserPage, before = Number.POSITIVE_INFINITY): UserPage {
  const end = page.createdAt.findIndex((at) => at !== undefined && at >= before)
  if (end === -1) return page
  const ids = page.ids.slice(0, end)
  const kept = new Set(ids)
  return {
    ids,
    createdAt: page.createdAt.slice(0, end),
    users: page.users.filter(({ id }) => kept.has(id)),
    unusable: page.unusable.filter(({ id }) => kept.has(id)),
  }
}
