/** The users that changed last, the newest first. The list has offsets and no cursor, and moves while it is read. */
import { type BackendApi, PAGE_SIZE } from '../clerk/backend-api.ts'
import type { UserSnapshot } from '../resources/user/change.ts'

// Mostly one or two users have changed: an answer of ten is small.
const FIRST_PAGE = 10
/** So many users of one page are read again with the next, to see that none has slipped between them. */
const OVERLAP = 5

/**
 * Yields the users whose `updated_at` (ms) is `through` or later. A user that changes meanwhile moves to the front, and comes
 * with the next reading; one that is deleted moves all others up, so that a page may have to be read again.
 */
export async function* changedSince(
  api: Pick<BackendApi, 'listUsers'>,
  through: number,
): AsyncGenerator<UserSnapshot[]> {
  let offset = 0
  let limit = FIRST_PAGE
  let before: readonly string[] = []
  for (;;) {
    const { users, ids } = await api.listUsers({ orderBy: '-updated_at', offset, limit })
    if (offset > 0 && !ids.some((id) => before.includes(id))) {
      offset = Math.max(0, offset - limit)
      continue
    }
    const changed = users.filter(({ version }) => version.updatedAt >= through)
    yield changed
    if (ids.length < limit || changed.length < users.length) return
    before = ids
    offset += ids.length - OVERLAP
    limit = limit === FIRST_PAGE ? MEDIUM_PAGE : PAGE_SIZE
  }
}

const MEDIUM_PAGE = 100
