/**
 * The guarded upserts of users: one proposed row an id, in the order of ids, so that two transactions never wait for each
 * other. The guard is the contract: nothing touches a tombstone, a snapshot writes when its version is at least the row's,
 * claims when they are strictly newer than the version and than the claims before.
 */
import { type SQL, sql } from 'drizzle-orm'
import type { PgColumn } from 'drizzle-orm/pg-core'
import { $, statement } from '../../db/statement.ts'
import { EMPTY_PROFILE, type Profile, type SyncSource, type UserChange } from './change.ts'
import { users } from './table.ts'

const PROFILE: { [C in keyof Profile]: PgColumn } = {
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

// What a snapshot says of a user, and what all the changes say together.
const SAID = [...profileColumns, users.banned]
const SNAPSHOT = [users.id, ...SAID, users.clerkCreatedAt, users.clerkUpdatedAt, users.clerkEventAt, users.syncSource]
const ANY = [...SNAPSHOT, users.claimsIssuedAt, users.claimsColumns, users.deletedAt]

/** The columns, each as `each` writes it. */
export const list = (columns: PgColumn[], each: (name: string, column: PgColumn) => string): SQL =>
  sql.raw(columns.map((column) => each(column.name, column)).join(', '))

// Times travel as milliseconds; every other column as its own type.
export const isTime = (column: PgColumn) => column.dataType === 'date'
const name = (name: string) => name
const input = (name: string, column: PgColumn) => (isTime(column) ? `to_timestamp(i.${name} / 1000)` : `i.${name}`)
const inputType = (name: string, column: PgColumn) => `${name} ${isTime(column) ? 'float8' : column.getSQLType()}`
const current = (name: string) => `u.${name}`
const proposed = (name: string) => `excluded.${name}`
const fromProposed = (name: string) => `${name} = excluded.${name}`

/** Columns of the input `i` as values, and with their types. */
export const inputsOf = (columns: PgColumn[]) => list(columns, input)
export const inputTypesOf = (columns: PgColumn[]) => list(columns, inputType)

const isVersionless = sql.raw('u.clerk_updated_at is null')
const versionOf = (row: 'u' | 'excluded') =>
  sql.raw(`(${row}.clerk_updated_at, coalesce(${row}.clerk_event_at, '-infinity'))`)
// What the Backend API repeats is not written.
const isAccepted = (saysMore: SQL) => sql`(${isVersionless} or ${versionOf('excluded')} >= ${versionOf('u')}
      and (excluded.sync_source <> 'clerk_api' or ${versionOf('excluded')} > ${versionOf('u')} or ${saysMore}))`

const snapshotSaysMore = sql`(${list(SAID, current)}) is distinct from (${list(SAID, proposed)})`

/** Most batches hold nothing but snapshots: far less for PostgreSQL to set up. */
const upsertSnapshots = statement<{ id: string; created: boolean }>(
  'users_upsert_snapshots',
  (t) => sql`insert into ${t(users)} as u (${list(SNAPSHOT, name)})
  select ${inputsOf(SNAPSHOT)}
  from json_to_recordset(${$(1)}::json) as i(${inputTypesOf(SNAPSHOT)})
  order by i.id
  on conflict (id) do update set
    ${list(SNAPSHOT.slice(1), fromProposed)},
    updated_at = case when ${snapshotSaysMore} then now() else u.updated_at end
  where u.deleted_at is null and ${isAccepted(snapshotSaysMore)}
  returning u.id, u.xmax = 0 as created`,
)

const isClaims = sql.raw('excluded.claims_issued_at is not null')
const isDeletion = sql.raw('excluded.deleted_at is not null')
const claimsAreNewer = sql`(${isVersionless} or excluded.claims_issued_at > u.clerk_updated_at)
      and (u.claims_issued_at is null or excluded.claims_issued_at > u.claims_issued_at)`
// Older claims may still fill what no newer claims and no snapshot spoke of.
const claimsFill = sql`${isVersionless} and not excluded.claims_columns <@ u.claims_columns`

// What a profile column will hold: all of a snapshot, nothing after a deletion, of claims only what they name.
const merged = (column: PgColumn): SQL => {
  const named = sql.raw(`'${column.name}' = any(excluded.claims_columns)`)
  const namedBefore = sql.raw(`'${column.name}' = any(u.claims_columns)`)
  return sql`case
      when not (${isClaims}) then ${sql.raw(proposed(column.name))}
      when ${named} and ((${claimsAreNewer}) or not coalesce(${namedBefore}, false)) then ${sql.raw(proposed(column.name))}
      else ${sql.raw(current(column.name))} end`
}
// Claims know nothing of the rest.
const unlessClaims = (column: PgColumn): SQL =>
  sql`case when ${isClaims} then u.${sql.raw(column.name)} else excluded.${sql.raw(column.name)} end`
const join = (fragments: SQL[]) => sql.join(fragments, sql`, `)
const set = (column: PgColumn, value: SQL) => sql`${sql.raw(column.name)} = ${value}`
const saysMore = sql`${isDeletion} or (${list(SAID, current)})
      is distinct from (${join(profileColumns.map(merged))}, ${unlessClaims(users.banned)})`
const UNCLAIMED = [users.banned, users.clerkCreatedAt, users.clerkUpdatedAt, users.clerkEventAt]

/** Snapshots, claims and deletions in one statement, so that the rows of all are locked in one order. */
const upsertAny = statement<{ id: string; created: boolean }>(
  'users_upsert',
  (t) => sql`insert into ${t(users)} as u (${list(ANY, name)})
  select ${inputsOf(ANY)}
  from json_to_recordset(${$(1)}::json) as i(${inputTypesOf(ANY)})
  order by i.id
  on conflict (id) do update set
    ${join(profileColumns.map((column) => set(column, merged(column))))},
    ${join(UNCLAIMED.map((column) => set(column, unlessClaims(column))))},
    claims_issued_at = case when not ${isDeletion} then greatest(u.claims_issued_at, excluded.claims_issued_at) end,
    claims_columns = case
      when ${isDeletion} then null
      when ${isClaims} then array(select distinct unnest(u.claims_columns || excluded.claims_columns) order by 1)
      else u.claims_columns end,
    sync_source = excluded.sync_source,
    deleted_at = excluded.deleted_at,
    updated_at = case when ${saysMore} then now() else u.updated_at end
  where u.deleted_at is null and case
    when ${isDeletion} then true
    when ${isClaims} then (${claimsAreNewer}) or (${claimsFill})
    else ${isAccepted(saysMore)} end
  returning u.id, u.xmax = 0 as created`,
)

/**
 * The statement that applies at most one change an id. Its rows name the ids that were written, with whether the row is new;
 * an id that is missing was stale. May be repeated. Locks every row named, written or not, until the transaction ends.
 */
export const upsertUsers = (changes: UserChange[]) =>
  (changes.every(({ kind }) => kind === 'snapshot') ? upsertSnapshots : upsertAny).call(
    JSON.stringify(changes.map(toRow)),
  )

/** A change as the input of a statement. */
export function toRow(change: UserChange): Record<string, unknown> {
  const profile = change.kind === 'deletion' ? EMPTY_PROFILE : { ...EMPTY_PROFILE, ...change.profile }
  const row: Record<string, unknown> = { id: change.id, banned: false, sync_source: sourceOf(change) }
  for (const key of Object.keys(PROFILE) as (keyof Profile)[]) row[PROFILE[key].name] = profile[key]
  if (change.kind === 'claims') {
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
  if (change.kind === 'claims') return change.source ?? 'session_claims'
  return change.kind === 'deletion' ? (change.source ?? 'webhook') : change.source
}
