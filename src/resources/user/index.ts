import { sql } from '../../db/drizzle.ts'
import type { InLedger, Resource, Writing, Written } from '../../db/resource.ts'
import { sqlTimeOf } from '../../db/statement.ts'
import type { Change } from '../../domain/change.ts'
import { newestById } from '../../domain/version.ts'
import {
  isInferred,
  saidAt,
  supersedes,
  type UserChange,
  type UserDeletion,
  type UserSnapshot,
  userEvents,
} from './change.ts'
import { erasePayloadsAbout, isAboutErased, isErased } from './erase.ts'
import { rewindVersions } from './rewind.ts'
import { users } from './table.ts'
import { isTime, profileColumns, stateColumns, upsertUsers } from './upsert.ts'

const inLedger: InLedger<UserChange> = {
  columns: { user_id: 'text', user_at: 'float8', user_event_at: 'float8', user_deleted: 'boolean' },
  input(user) {
    // With a message, claims are always the user part of a membership event; they do not decide its outcome.
    if (user.kind === 'claims') return {}
    const [at, eventAt] =
      user.kind === 'snapshot' ? [user.version.updatedAt, user.version.eventAt] : [user.deletedAt, user.deletedAt]
    return { user_id: user.id, user_at: at, user_event_at: eventAt, user_deleted: user.kind === 'deletion' }
  },
  isCurrent: (t) => sql`(select u.clerk_updated_at = ${sqlTimeOf('user_at')}
    and u.clerk_event_at is not distinct from ${sqlTimeOf('user_event_at')}
    and (u.deleted_at is not null) = i.user_deleted
    from ${t(users)} u where u.id = i.user_id)`,
  // Failed messages about a deleted user are superseded, including those about sessions.
  isSuperseded: (t) => sql`exists (select 1 from ${t(users)} u where u.id in (e.object_id, e.user_id)
    and (${isErased(sql`e.event_at`)} or u.id = e.object_id and greatest(u.clerk_updated_at, u.clerk_event_at) > e.event_at))`,
}

export const user: Resource<UserChange> = {
  name: 'user',
  table: users,
  events: userEvents,
  // A session can arrive before the user's row, and must see a concurrent deletion.
  locksOf: ({ user }) => (user?.kind === 'deletion' ? [`user ${user.id}`] : []),
  write,
  erasure: {
    calls(changes) {
      const deleted = changes.flatMap(({ user }) => (user?.kind === 'deletion' ? user.id : []))
      return deleted.length > 0 ? [erasePayloadsAbout(deleted)] : []
    },
    isErased: isAboutErased,
  },
  inLedger,
  inFeed: {
    entity: 'user',
    visible: [...profileColumns, ...stateColumns].filter((column) => !isTime(column)),
    isThere: (row) => `${row}.deleted_at is null`,
  },
}

function write(changes: readonly Change[]): Writing {
  const full: (UserSnapshot | UserDeletion)[] = []
  const dependent: UserChange[] = []
  for (const { user } of changes) {
    if (user === undefined) continue
    if (user.kind === 'claims' || isInferred(user)) dependent.push(user)
    else full.push(user)
  }
  const winners = newestById(full, supersedes)
  const corrections = full.filter((change) => change.kind === 'snapshot' && change.corrects) as UserSnapshot[]
  const rounds = roundsOf(
    winners,
    dependent.filter((change) => !isUndone(change, full)),
  ).map((round) => ({
    round,
    // The winner of several snapshots is dated by the latest report of the user.
    upsert: upsertUsers(full.length > winners.length ? round.map((change) => seenWith(change, full)) : round),
  }))

  function written(): Map<object, Written> {
    const found = new Map<object, Written>()
    for (const { round, upsert } of rounds) {
      const createdOf = new Map(upsert.rows.map(({ id, created }) => [id, created]))
      for (const change of round) {
        const created = createdOf.get(change.id)
        if (created !== undefined) found.set(change, { created })
      }
    }
    // A state equal to the written one counts as written too.
    for (const winner of full.length > winners.length ? winners : []) {
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

/** The snapshot, dated by the latest report of the user in this batch: that time is compared with inferred deletions. */
function seenWith(change: UserChange, others: readonly UserChange[]): UserChange {
  if (change.kind !== 'snapshot') return change
  const dates = others.flatMap((other) => (other.id === change.id && other.kind === 'snapshot' ? saidAt(other) : []))
  const askedAt = Math.max(...dates)
  return Number.isFinite(askedAt) ? { ...change, askedAt } : change
}

/** Whether this is an inferred deletion that another change of the batch undoes. */
function isUndone(change: UserChange, others: readonly UserChange[]): boolean {
  if (change.kind !== 'deletion') return false
  return others.some((other) => other.id === change.id && other.kind === 'snapshot' && saidAt(other) > change.deletedAt)
}

const dateOf = (change: UserChange) =>
  change.kind === 'claims' ? change.issuedAt : change.kind === 'deletion' ? change.deletedAt : change.version.updatedAt

/**
 * Splits changes into rounds with one change per id. Claims and inferred deletions, which depend on the row, follow in later
 * rounds if they share an id with others, oldest first.
 */
function roundsOf(winners: UserChange[], dependent: UserChange[]): UserChange[][] {
  const rounds: UserChange[][] = []
  let round: UserChange[] = [...winners]
  let waiting = dependent.sort((a, b) => dateOf(a) - dateOf(b))
  while (round.length > 0 || waiting.length > 0) {
    // Later rounds contain only ids that an earlier round has locked.
    const ids = new Set(round.map(({ id }) => id))
    const later: UserChange[] = []
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
