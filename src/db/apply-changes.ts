/**
 * The work of a transaction that applies changes. All of its statements are sent at once, as if no message had come before;
 * where one has, nothing is committed, and the changes are sent again without those of it.
 */
import { sql } from 'drizzle-orm'
import type { Change, Message, Outcome } from '../domain/change.ts'
import { isLaterState } from '../domain/session.ts'
import type { UserChange, UserClaims, UserDeletion, UserSnapshot } from '../domain/user.ts'
import { isNewer, newestById } from '../domain/version.ts'
import { endSessionsOf, upsertSessions } from './sessions.ts'
import { $, type Executor, statement } from './statement.ts'
import { inOrder, type Work } from './transaction.ts'
import { upsertUsers } from './users.ts'
import { rewindVersions } from './version-correction.ts'
import { type Claim, claimMessages, settleMessages } from './webhook-events.ts'

/** What became of a change that no error came in the way of. */
export interface AppliedChange {
  outcome: Outcome
  /** Whether it made a new row of a user. */
  created: boolean
}

/** Thrown in place of a commit: it is other messages that were applied before than was thought. `ids` names them all. */
export class RepeatedMessages extends Error {
  override name = 'RepeatedMessages'
  readonly ids: ReadonlySet<string>

  constructor(ids: ReadonlySet<string>) {
    super(`${ids.size} messages were applied before`)
    this.ids = ids
  }
}

interface Sent {
  claims: Map<string, Claim>
  users: Map<UserChange, { created: boolean }>
  sessions: Set<unknown>
}

/**
 * The transaction that applies changes, one result each, in their order. It is given up with `RepeatedMessages` when it
 * turns out that other messages than `repeated` were applied before.
 * @param repeated ids of messages that were: another attempt is counted for them, and nothing else
 */
export function applying(
  changes: Change[],
  repeated: ReadonlySet<string>,
  storePayloads: boolean,
): Work<Sent, AppliedChange[]> {
  const messages = changes.flatMap(({ message }) => message ?? [])
  const taken = new Set(repeated)
  const isLive = changes.map(({ message }) => {
    if (!message) return true
    if (taken.has(message.id)) return false
    taken.add(message.id)
    return true
  })
  const live = changes.filter((_, i) => isLive[i])

  return {
    async send(client) {
      const users = applyUsers(client, live)
      const sessions = applySessions(client, live)
      const claims = messages.length > 0 ? claimMessages(client, messages, storePayloads) : Promise.resolve(new Map())
      await inOrder([users, sessions, claims])
      return { claims: await claims, users: await users, sessions: await sessions }
    },

    async finish({ claims, users, sessions }, client) {
      const isRepeated = ({ id }: Message) => claims.get(id) === 'applied before'
      // Also when one is no longer there, as after a failover: it would be entered without its change.
      if (messages.some((message) => isRepeated(message) !== repeated.has(message.id))) {
        throw new RepeatedMessages(new Set(messages.filter(isRepeated).map(({ id }) => id)))
      }

      const settled: { message: Message; outcome: Outcome }[] = []
      const results = changes.map((change, i): AppliedChange => {
        if (!isLive[i]) return { outcome: 'duplicate', created: false }
        const { message } = change
        const user = change.user && users.get(change.user)
        const isApplied = user || (change.session && sessions.has(change.session))
        const outcome = !change.user && !change.session ? 'ignored' : isApplied ? 'applied' : 'stale'
        // Claimed as applied; only what turned out otherwise is written again.
        if (message && (outcome !== 'applied' || claims.get(message.id) === 'failed before')) {
          settled.push({ message, outcome })
        }
        const created = user?.created ?? false
        // Callers may share one snapshot: the first of them made the row.
        if (user) user.created = false
        return { outcome, created }
      })
      if (settled.length > 0) await settleMessages(client, settled, storePayloads)
      return results
    },
  }
}

/** Applies the user changes, and returns those that were written. */
async function applyUsers(client: Executor, changes: Change[]): Promise<Map<UserChange, { created: boolean }>> {
  const full: (UserSnapshot | UserDeletion)[] = []
  const partial: UserClaims[] = []
  for (const { user } of changes) {
    if (user?.kind === 'claims') partial.push(user)
    else if (user) full.push(user)
  }
  const winners = newestById(full, supersedes)
  const deleted = winners.filter(({ kind }) => kind === 'deletion').map(({ id }) => id)
  const corrections = full.filter((change) => change.kind === 'snapshot' && change.corrects) as UserSnapshot[]

  const locked = lockWithoutRows(client, changes)
  const rewound = rewindVersions(client, corrections)
  const rounds = roundsOf(winners, partial)
  const written = rounds.map((round) => upsertUsers(client, round))
  const ended = endSessionsOf(client, deleted)
  await inOrder([locked, rewound, ...written, ended])

  const applied = new Map<UserChange, { created: boolean }>()
  for (const [i, round] of rounds.entries()) {
    const ids = await written[i]
    for (const change of round) {
      const created = ids?.get(change.id)
      if (created !== undefined) applied.set(change, { created })
    }
  }
  // What says the same as the one that was written is as good as written.
  for (const winner of winners) {
    if (!applied.has(winner)) continue
    for (const change of full) {
      if (change.id === winner.id && !applied.has(change) && !supersedes(winner, change)) {
        applied.set(change, { created: false })
      }
    }
  }
  return applied
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

function supersedes(a: UserSnapshot | UserDeletion, b: UserSnapshot | UserDeletion): boolean {
  if (a.kind === 'deletion' || b.kind === 'deletion') return a.kind === 'deletion' && b.kind !== 'deletion'
  return isNewer(a.version, b.version)
}

/** Applies the session states, and returns those that were written. */
async function applySessions(client: Executor, changes: Change[]): Promise<Set<unknown>> {
  const winners = newestById(
    changes.flatMap(({ session }) => session ?? []),
    isLaterState,
  )
  if (winners.length === 0) return new Set()
  const written = await upsertSessions(client, winners)
  return new Set(winners.filter(({ id }) => written.has(id)))
}

const lockUsers = statement(
  'users_lock',
  sql`select pg_advisory_xact_lock(${sql.raw(String(0x75736572))}, h)
  from (select distinct hashtext(id) as h from unnest(${$(1)}::text[]) as id order by h) hashes`,
)

/**
 * A deletion must see every session of its user, and a session must see the deletion. Both lock the row of the user, but a
 * session event without a user finds none that it may lock: those and deletions meet at an advisory lock.
 */
async function lockWithoutRows(client: Executor, changes: Change[]): Promise<void> {
  const ids = changes.flatMap(({ user, session }) => {
    if (user?.kind === 'deletion') return user.id
    return session && session.userId !== user?.id ? session.userId : []
  })
  if (ids.length > 0) await lockUsers(client, ids)
}
