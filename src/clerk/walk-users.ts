/** All users of a Clerk instance, page by page in the order of their creation, from any place. */
import { ClerkRefusal, ClerkUnavailable } from './api-errors.ts'
import { type BackendApi, PAGE_SIZE, type UserPage } from './backend-api.ts'

/**
 * Where a walk is: ids of users behind which it goes on, the farthest last. There are several, because the user of a cursor
 * may be deleted, and Clerk may not know its place then: the next one back is tried, and some users come twice.
 */
export type Trail = readonly string[]

export interface Step extends UserPage {
  /** The place behind this page. */
  trail: Trail
}

const MAX_TRAIL = 24
const NO_CURSORS = 'it gives the same page again and again, and does not follow starting_after'

/** Walks from a place (default the beginning) to the end. A page is asked for when the one before has been taken. */
export async function* walkUsers(api: Pick<BackendApi, 'listUsers'>, from: Trail = []): AsyncGenerator<Step> {
  let trail = from
  for (;;) {
    const page = await listAfter(api, trail.at(-1))
    if (page === undefined) {
      trail = trail.slice(0, -1)
      continue
    }
    if (page.ids.length > 0 && page.ids.at(-1) === trail.at(-1)) throw new ClerkUnavailable(NO_CURSORS)
    trail = extend(trail, page.ids)
    if (page.ids.length > 0) yield { ...page, trail }
    if (page.ids.length < PAGE_SIZE) return
  }
}

/** Undefined when Clerk does not know the user of the cursor (any more). */
async function listAfter(api: Pick<BackendApi, 'listUsers'>, startingAfter?: string): Promise<UserPage | undefined> {
  try {
    return await api.listUsers({ orderBy: 'created_at', startingAfter })
  } catch (error) {
    const isCursor = error instanceof ClerkRefusal && [400, 404, 422].includes(error.status)
    if (isCursor && startingAfter !== undefined) return undefined
    throw error
  }
}

/** The last ids of a page, ever farther apart, after those of the pages before. */
function extend(trail: Trail, ids: readonly string[]): Trail {
  const added: string[] = []
  for (let distance = 1; distance <= ids.length; distance *= 2) added.unshift(ids.at(-distance) as string)
  return [...trail, ...added].slice(-MAX_TRAIL)
}

/** Reads so many items ahead of who takes them, so that reading and writing overlap. */
export async function* readAhead<T>(source: AsyncGenerator<T>, depth: number): AsyncGenerator<T> {
  const waiting: Promise<IteratorResult<T>>[] = []
  try {
    for (;;) {
      while (waiting.length < depth) {
        const next = source.next()
        next.catch(() => undefined) // Whoever takes it hears of it.
        waiting.push(next)
      }
      const result = await (waiting.shift() as Promise<IteratorResult<T>>)
      if (result.done) return
      yield result.value
    }
  } finally {
    await Promise.allSettled(waiting)
  }
}
