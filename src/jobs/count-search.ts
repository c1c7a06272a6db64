/**
 * Finds the users that make Clerk's count differ from the table's, by bisection over creation time: each step asks Clerk for one
 * count, and only ranges of one page are read. One lost deletion among a million users takes about fifteen requests.
 */
import { type BackendApi, MAX_IDS, PAGE_SIZE } from '../clerk/backend-api.ts'
import { createLaneWalk } from '../clerk/lanes.ts'
import type { Executor } from '../db/statement.ts'
import type { UserSnapshot } from '../resources/user/change.ts'
import { type CreationRange, countCreated, findCreatedIds, findUndatedIds } from '../resources/user/creation.ts'

export interface CountSearchOptions {
  api: Pick<BackendApi, 'listUsers' | 'countUsers'>
  executor: Executor
  signal: AbortSignal
  /** Users created later are left out, because their webhooks may be in transit. In ms since 1970. */
  before: number
  /** Called with users from Clerk, some of which may be missing in the table. */
  onUsers: (users: UserSnapshot[]) => Promise<void>
  /** Called with ids that are in the table but that Clerk did not list. */
  onAbsent: (ids: string[]) => Promise<void>
}

interface Compared extends CreationRange {
  ours: number
  theirs: number
}

/** May be repeated. Rejects if Clerk or the database cannot be reached. */
export async function searchByCount(options: CountSearchOptions): Promise<void> {
  const { api, executor, signal, before } = options
  await dateUsers(options)
  const { count } = await countCreated(executor, { from: 0, before })
  const open: Compared[] = [{ from: 0, before, ours: count, theirs: await api.countUsers({ createdBefore: before }) }]
  for (let range = open.pop(); range; range = open.pop()) {
    signal.throwIfAborted()
    if (range.ours === range.theirs) continue
    const halves = range.ours > PAGE_SIZE ? await split(range, options) : undefined
    if (halves) open.push(...halves)
    else await compareRange(range, options)
  }
}

// Rows made from claims have no creation time, so these users are fetched from Clerk first.
async function dateUsers({ api, executor, before, onUsers, onAbsent, signal }: CountSearchOptions): Promise<void> {
  const ids = await findUndatedIds(executor, before, PAGE_SIZE)
  for (let at = 0; at < ids.length; at += MAX_IDS) {
    signal.throwIfAborted()
    const asked = ids.slice(at, at + MAX_IDS)
    const page = await api.listUsers({ ids: asked, limit: MAX_IDS })
    await onUsers(page.users)
    await onAbsent(asked.filter((id) => !page.ids.includes(id)))
  }
}

/** Two ranges with half of the table's users each; undefined if all were created at the same time. */
async function split(
  { from, before, theirs }: Compared,
  { api, executor }: CountSearchOptions,
): Promise<Compared[] | undefined> {
  const { median } = await countCreated(executor, { from, before })
  if (median === undefined || median <= from) return undefined
  const lower = await countCreated(executor, { from, before: median })
  const upper = await countCreated(executor, { from: median, before })
  const theirLower = await api.countUsers({ createdAfter: behind(from), createdBefore: median })
  return [
    { from, before: median, ours: lower.count, theirs: theirLower },
    { from: median, before, ours: upper.count, theirs: theirs - theirLower },
  ]
}

async function compareRange({ from, before, ours }: Compared, options: CountSearchOptions): Promise<void> {
  const { api, executor, signal, onUsers, onAbsent } = options
  // Read before the request to Clerk, so that a user created meanwhile does not look absent.
  const unseen = new Set(await findCreatedIds(executor, { from, before }, ours))
  const walk = createLaneWalk({
    api,
    total: 1,
    lanes: 1,
    from: [{ after: behind(from), before }],
    signal,
    take: async ({ users, ids }) => {
      for (const id of ids) unseen.delete(id)
      await onUsers(users)
    },
  })
  await walk.run()
  signal.throwIfAborted()
  await onAbsent([...unseen])
}

/** The exclusive lower bound for Clerk; none for the beginning of time. */
const behind = (from: number) => (from > 0 ? from - 1 : undefined)
