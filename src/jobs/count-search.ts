/**
 * Finds the users by whom Clerk's count differs from ours, by bisection over their creation time: each step asks Clerk for one
 * count, and only a range of one page is read. Of a million users one lost deletion takes about fifteen requests.
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
  /** Users created later than this are left out: webhooks about them may be under way. In ms since 1970. */
  before: number
  /** Called with users as Clerk has them, some of whom may be missing here. */
  onUsers: (users: UserSnapshot[]) => Promise<void>
  /** Called with ids that are here and that Clerk did not list. */
  onAbsent: (ids: string[]) => Promise<void>
}

interface Compared extends CreationRange {
  ours: number
  theirs: number
}

/** May be repeated. Rejects when Clerk or the database cannot be reached. */
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

// Where a row comes from claims alone, nothing here says when Clerk created its user: Clerk is asked for those first.
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

/** Two ranges with half of our users each; undefined where all of them were created at one time. */
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
  // Read before Clerk is asked: a user who comes meanwhile is not among those that it did not list.
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

/** The exclusive bound that Clerk takes: none for the beginning of time. */
const behind = (from: number) => (from > 0 ? from - 1 : undefined)
