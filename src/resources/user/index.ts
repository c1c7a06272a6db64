import { sql } from 'drizzle-orm'
import type { InLedger, Resource, Writing, Written } from '../../db/resource.ts'
import { timeOf } from '../../db/statement.ts'
import type { Change } from '../../domain/change.ts'
import { newestById } from '../../domain/version.ts'
import {
  supersedes,
  type UserChange,
  type UserClaims,
  type UserDeletion,
  type UserSnapshot,
  userEvents,
} from './change.ts'
import { rewindVersions } from './rewind.ts'
import { users } from './table.ts'
import { isTime, profileColumns, upsertUsers } from './upsert.ts'

const inLedger: InLedger<UserChange> = {
  columns: { user_id: 'text', user_at: 'float8', user_event_at: 'float8', user_deleted: 'boolean' },
  input(user) {
    const [at, eventAt] =
      user.kind === 'snapshot'
        ? [user.version.updatedAt, user.version.eventAt]
        : user.kind === 'deletion'
          ? [user.deletedAt, user.deletedAt]
          : [user.issuedAt, null]
    return { user_id: user.id, user_at: at, user_event_at: eventAt, user_deleted: user.kind === 'deletion' }
  },
  isCurrent: (t) => sql`(select u.clerk_updated_at = ${timeOf('user_at')}
    and u.clerk_event_at is not distinct from ${timeOf('user_event_at')}
    and (u.deleted_at is not null) = i.user_deleted
    from ${t(users)} u where u.id = i.user_id)`,
}

export const user: Resource<UserChange> = {
  name: 'user',
  table: users,
  events: userEvents,
  // A session may come before the user's row, and must see a deletion that is under way.
  locksOf: ({ user }) => (user?.kind === 'deletion' ? [`user ${user.id}`] : []),
  write,
  inLedger,
  inFeed: {
    entity: 'user',
    visible: [...profileColumns.filter((column) => !isTime(column)), users.banned],
    isThere: (row) => `${row}.deleted_at is null`,
  },
}

function write(changes: readonly Change[]): Writing {
  const full: (UserSnapshot | UserDeletion)[] = []
  const partial: UserClaims[] = []
  for (const { user } of changes) {
    if (user?.kind === 'claims') partial.push(user)
    else if (user) full.push(user)
  }
  const winners = newestById(full, supersedes)
  const corrections = full.filter((change) => change.kind === 'snapshot' && change.corrects) as UserSnapshot[]
  const rounds = roundsOf(winners, partial).map((round) => ({ round, upsert: upsertUsers(round) }))

  function written(): Map<object, Written> {
    const found = new Map<object, Written>()
    for (const { round, upsert } of rounds) {
      const createdOf = new Map(upsert.rows.map(({ id, created }) => [id, created]))
      for (const change of round) {
        const created = createdOf.get(change.id)
        if (created !== undefined) found.set(change, { created })
      }
    }
    // What says the same as the one that was written is as good as written.
    for (const winner of winners) {
      if (!found.has(winner)) continue
      for (const change of full) {
        if (change.id === winner.id && !found.has(change) && !supersedes(winner, change)) {
          found.set(change, { created: false })
        }
      }
    }
    return found
  }
  return {
    calls: [...(corrections.length > 0 ? [rewindVersions(corrections)] : []), ...rounds.map(({ upsert }) => upsert)],
    written,
  }
}

/** One change an id and statement: claims that share an id with others follow in later rounds, the oldest first. */
function roundsOf(winners: UserChange[], claims: UserClaims[]): UserChange[][] {
  const rounds: UserChange[][] = []
  let round: UserChange[] = [...winners]
  let waiting = claims.sort((a, b) => a.issuedAt - b.issuedAt)
  while (round.length > 0 || waiting.length > 0) {
    // Later rounds name no id of which an earlier one did not take the lock.
    const ids = new Set(round.map(({ id }) => id))
    const later: UserClaims[] = []
    for (const change of waiting) {
      if (ids.has(change.id)) later.push(change)
      else round.push(change)
      ids.add(change.id)
    }
    rounds.push(round)
    waiting = later
    round = []
  }
  return rounds
}
