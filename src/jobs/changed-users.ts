/** Reads the users that changed last, newest first. Clerk's list has offsets but no cursor, so it can shift while it is read. */
import { type BackendApi, PAGE_SIZE } from '../clerk/backend-api.ts'
import type { UserSnapshot } from '../resources/user/change.ts'

// Usually one or two users have changed, so the first page is small.
const FIRST_PAGE = 10
/** The number of users that a page shares with the previous one, to detect that none was skipped between them. */
const OVERLAP = 5

/**
 * Yields the users whose `updated_at` (ms) is `through` or later. A user that changes meanwhile moves to the front, so the next
 * catch-up reads it; a deletion shifts all others, so a page may have to be read again.
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
