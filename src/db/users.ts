/** The SQL of `users`: the guarded upserts of snapshots, claims and deletions, and the read of every request. */
import { type SQL, sql } from 'drizzle-orm'
import type { PgColumn } from 'drizzle-orm/pg-core'
import { parseJson } from '../domain/clean.ts'
import { EMPTY_PROFILE, type Profile, type SyncSource, type User, type UserChange } from '../domain/user.ts'
import { sessions, users } from './schema.ts'
import { $, bare, type Executor, excluded, IN_TRANSACTION, list, statement } from './statement.ts'

type ProfileColumn = { [C in keyof Profile]: PgColumn }
const PROFILE: ProfileColumn = {
  email: users.email,
  emailVerified: users.emailVerified,
  firstName: users.firstName,
  lastName: users.lastName,
  username: users.username,
  imageUrl: users.imageUrl,
  publicMetadata: users.publicMetadata,
  lastSignInAt: users.lastSignInAt,
}
export const profileColumns = Object.values(PROFILE)

const SNAPSHOT = [
  users.id,
  ...profileColumns,
  users.banned,
  users.clerkCreatedAt,
  users.clerkUpdatedAt,
  users.clerkEventAt,
  users.syncSource,
]
const WRITTEN = [...SNAPSHOT, users.claimsIssuedAt, users.claimsColumns, users.deletedAt]

// Times travel as milliseconds; every other column as its own type.
const isTime = (column: PgColumn) => column.dataType === 'date'
const inputType = (column: PgColumn) => sql.raw(isTime(column) ? 'float8' : column.getSQLType())
export const fromInput = (column: PgColumn) =>
  isTime(column) ? sql`to_timestamp(i.${bare(column)} / 1000)` : sql`i.${bare(column)}`

/** Rows of JSON with these columns, each as `toRow` writes it. */
export const inputOf = (columns: PgColumn[]): SQL =>
  list(columns.map((column) => sql`${bare(column)} ${inputType(column)}`))

const isVersionless = sql`u.clerk_updated_at is null`
const versionOf = (row: 'u' | 'excluded') =>
  sql.raw(`(${row}.clerk_updated_at, coalesce(${row}.clerk_event_at, '-infinity'))`)
const current = list([...profileColumns, users.banned].map((column) => sql`u.${bare(column)}`))

// The parts of both upserts: one proposed row an id, in the order of ids, so that two transactions never wait for each
// other. The guard is the contract: nothing touches a tombstone, a snapshot writes when its version is at least the row's,
// claims when they are strictly newer than the version and the claims before. What the Backend API repeats is not written.
const propose = (columns: PgColumn[], input: SQL) => sql`insert into ${users} as u (${list(columns.map(bare))})
  select ${list(columns.map(fromInput))} from ${input} order by i.id
  on conflict (id) do update set`
const writes = (saysMore: SQL) => sql`(${isVersionless} or ${versionOf('excluded')} >= ${versionOf('u')}
  and (excluded.sync_source <> 'clerk_api' or ${versionOf('excluded')} > ${versionOf('u')} or ${saysMore}))`
const touch = (hasChanged: SQL) => sql`updated_at = case when ${hasChanged} then now() else u.updated_at end`
const WRITTEN_IDS = sql`returning u.id, u.xmax = 0 as created`

const snapshotSaysMore = sql`(${current}) is distinct from
    (${list([...profileColumns, users.banned].map(excluded))})`

/** The upsert of snapshots. @param input a `from` list with the columns of `SNAPSHOT_INPUT`, as `i`, and its `where` */
export const upsertSnapshotsFrom = (input: SQL): SQL => sql`${propose(SNAPSHOT, input)}
    ${list(SNAPSHOT.slice(1).map((column) => sql`${bare(column)} = ${excluded(column)}`))}, ${touch(snapshotSaysMore)}
  where u.deleted_at is null and ${writes(snapshotSaysMore)}
  ${WRITTEN_IDS}`
export const SNAPSHOT_INPUT = inputOf(SNAPSHOT)

const isClaims = sql`excluded.claims_issued_at is not null`
const isDeletion = sql`excluded.deleted_at is not null`
const claimsAreNewer = sql`(${isVersionless} or excluded.claims_issued_at > u.clerk_updated_at)
  and (u.claims_issued_at is null or excluded.claims_issued_at > u.claims_issued_at)`
// Older claims may still fill what no newer claims and no snapshot spoke of.
const claimsFill = sql`${isVersionless} and not excluded.claims_columns <@ u.claims_columns`
const isNamed = (column: PgColumn) => sql`${sql.raw(`'${column.name}'`)} = any(excluded.claims_columns)`
const isNamedBefore = (column: PgColumn) => sql`${sql.raw(`'${column.name}'`)} = any(u.claims_columns)`

// What a profile column will hold: all of a snapshot, nothing after a deletion, of claims only what they name.
const merged = (column: PgColumn): SQL => sql`case
  when not (${isClaims}) then ${excluded(column)}
  when ${isNamed(column)} and ((${claimsAreNewer}) or not coalesce(${isNamedBefore(column)}, false)) then ${excluded(column)}
  else u.${bare(column)} end`
// Claims know nothing of the rest.
const unlessClaims = (column: PgColumn): SQL =>
  sql`case when ${isClaims} then u.${bare(column)} else ${excluded(column)} end`
const saysMore = sql`${isDeletion} or (${current})
  is distinct from (${list(profileColumns.map(merged))}, ${unlessClaims(users.banned)})`

const fromParameter = (columns: SQL) => sql`json_to_recordset(${$(1)}::json) as i(${columns}) where ${IN_TRANSACTION}`

const upsertAny = statement<{ id: string; created: boolean }>(
  'users_upsert',
  sql`${propose(WRITTEN, fromParameter(inputOf(WRITTEN)))}
    ${list(profileColumns.map((column) => sql`${bare(column)} = ${merged(column)}`))},
    ${list(
      [users.banned, users.clerkCreatedAt, users.clerkUpdatedAt, users.clerkEventAt].map(
        (column) => sql`${bare(column)} = ${unlessClaims(column)}`,
      ),
    )},
    claims_issued_at = case when not ${isDeletion} then greatest(u.claims_issued_at, excluded.claims_issued_at) end,
    claims_columns = case
      when ${isDeletion} then null
      when ${isClaims} then array(select distinct unnest(u.claims_columns || excluded.claims_columns) order by 1)
      else u.claims_columns end,
    sync_source = excluded.sync_source,
    deleted_at = excluded.deleted_at,
    ${touch(saysMore)}
  where u.deleted_at is null and case
    when ${isDeletion} then true
    when ${isClaims} then (${claimsAreNewer}) or (${claimsFill})
    else ${writes(saysMore)} end
  ${WRITTEN_IDS}`,
)
// Most batches hold nothing but snapshots: far less for PostgreSQL to set up.
const upsertSnapshots = statement<{ id: string; created: boolean }>(
  'users_upsert_snapshots',
  upsertSnapshotsFrom(fromParameter(SNAPSHOT_INPUT)),
)

/**
 * Applies at most one change an id. Returns the ids that were written, with whether the row is new; an id that is missing
 * was stale. May be repeated. Locks every row named, written or not, until the transaction ends.
 */
export async function upsertUsers(executor: Executor, changes: UserChange[]): Promise<Map<string, boolean>> {
  const upsert = changes.every(({ kind }) => kind === 'snapshot') ? upsertSnapshots : upsertAny
  const rows = await upsert(executor, JSON.stringify(changes.map(toRow)))
  return new Map(rows.map(({ id, created }) => [id, created]))
}

/** A change as the input of a statement with the columns `WRITTEN`. */
export function toRow(change: UserChange): Record<string, unknown> {
  const claims = change.kind === 'claims'
  const profile = change.kind === 'deletion' ? EMPTY_PROFILE : { ...EMPTY_PROFILE, ...change.profile }
  const row: Record<string, unknown> = { id: change.id, banned: false, sync_source: sourceOf(change) }
  for (const key of Object.keys(PROFILE) as (keyof Profile)[]) row[PROFILE[key].name] = profile[key]
  if (claims) {
    row.claims_issued_at = change.issuedAt
    row.claims_columns = Object.keys(change.profile).map((key) => PROFILE[key as keyof Profile].name)
  } else if (change.kind === 'deletion') {
    row.clerk_updated_at = row.clerk_event_at = row.deleted_at = change.deletedAt
  } else {
    row.banned = change.banned
    row.clerk_created_at = change.clerkCreatedAt
    row.clerk_updated_at = change.version.updatedAt
    row.clerk_event_at = change.version.eventAt
  }
  return row
}

function sourceOf(change: UserChange): SyncSource {
  if (change.kind === 'claims') return 'session_claims'
  return change.kind === 'deletion' ? (change.source ?? 'webhook') : change.source
}

/** Whose state is asked for; tokens of JWT templates have no session. */
export interface AuthKey {
  userId: string
  sessionId: string | null
}

/** What a request must know of its user and its session, read in one query and never cached. */
export interface AuthState {
  /** Undefined when no row is there, or only a tombstone. */
  user: User | undefined
  isDeleted: boolean
  isBanned: boolean
  /** Undefined when no event told of the session yet. */
  sessionStatus: string | undefined
  /** The row's version and the age of its claims, in ms since 1970; -Infinity where there is none. */
  clerkUpdatedAt: number
  claimsIssuedAt: number
}

interface StateRow extends Record<string, unknown> {
  /** The place of its key, from 1, as pg gives a bigint. */
  n: string
  id: string | null
  session_status: string | null
}

const READ = [
  users.id,
  ...profileColumns,
  users.banned,
  users.clerkUpdatedAt,
  users.claimsIssuedAt,
  users.createdAt,
  users.updatedAt,
  users.deletedAt,
]

// Times leave as they came, in milliseconds, and metadata as text: both cost less than what pg would make of them.
function toOutput(column: PgColumn): SQL {
  if (column === users.publicMetadata) return sql`u.${bare(column)}::text`
  return isTime(column)
    ? sql`round(date_part('epoch', u.${bare(column)}) * 1000) as ${bare(column)}`
    : sql`u.${bare(column)}`
}

// The sub-selects hide how many there are: PostgreSQL would plan anew for each lone read, at more than the cost of reading.
const selectStates = statement<StateRow>(
  'auth_states',
  sql`select k.n, ${list(READ.map(toOutput))}, s.status as session_status
  from unnest((select ${$(1)}::text[]), (select ${$(2)}::text[])) with ordinality as k(user_id, session_id, n)
  left join ${users} u on u.id = k.user_id
  left join ${sessions} s on s.id = k.session_id`,
)

/** The states of many users and sessions in one query, in the order asked. */
export async function findAuthStates(executor: Executor, keys: AuthKey[]): Promise<AuthState[]> {
  const rows = await selectStates(
    executor,
    keys.map(({ userId }) => userId),
    keys.map(({ sessionId }) => sessionId),
  )
  const states: AuthState[] = []
  for (const row of rows) states[Number(row.n) - 1] = toState(row)
  return states
}

function toState(row: StateRow): AuthState {
  return {
    user: row.id === null || row.deleted_at !== null ? undefined : toUser(row),
    isDeleted: row.deleted_at !== null,
    isBanned: row.banned === true,
    sessionStatus: row.session_status ?? undefined,
    clerkUpdatedAt: (row.clerk_updated_at as number | null) ?? -Infinity,
    claimsIssuedAt: (row.claims_issued_at as number | null) ?? -Infinity,
  }
}

function toUser(row: Record<string, unknown>): User {
  return {
    id: row.id as string,
    email: row.email as string | null,
    emailVerified: row.email_verified as boolean | null,
    firstName: row.first_name as string | null,
    lastName: row.last_name as string | null,
    username: row.username as string | null,
    imageUrl: row.image_url as string | null,
    // As text, so that numbers beyond 2^53 come back as they were stored.
    publicMetadata: parseJson(row.public_metadata as string) as User['publicMetadata'],
    lastSignInAt: row.last_sign_in_at === null ? null : toIso(row.last_sign_in_at),
    createdAt: toIso(row.created_at),
    updatedAt: toIso(row.updated_at),
  }
}

const toIso = (milliseconds: unknown) => new Date(milliseconds as number).toISOString()
