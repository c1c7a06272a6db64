/**
 * The guarded upserts of users, with one proposed row per id, in the order of ids, so that two transactions never deadlock. The guard:
 * - Nothing changes the tombstone of an event.
 * - A snapshot is written if its version is at least the row's.
 * - Claims are written if they are strictly newer than the row's version and than earlier claims.
 * - An inferred deletion is written unless Clerk has reported the user since. A later snapshot undoes it.
 */
import { type PgColumn, type SQL, sql } from '../../db/drizzle.ts'
import { $, type Qualify, statement } from '../../db/statement.ts'
import { FINAL_SQL, sessions } from '../session/table.ts'
import {
  EMPTY_PROFILE,
  EMPTY_STATE,
  isInferred,
  type Profile,
  type SyncSource,
  type UserChange,
  type UserState,
} from './change.ts'
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
  externalId: users.externalId,
  phoneNumber: users.phoneNumber,
}
export const profileColumns = Object.values(PROFILE)
const STATE: { [C in keyof UserState]: PgColumn } = {
  banned: users.banned,
  locked: users.locked,
  deprovisioned: users.deprovisioned,
  unsafeMetadata: users.unsafeMetadata,
  privateMetadata: users.privateMetadata,
}
export const stateColumns = Object.values(STATE)
/** The flags of a user's state, which every snapshot gives. */
export const flagColumns = [users.banned, users.locked, users.deprovisioned]

// The columns that a snapshot sets: data, then version; and the columns of all kinds of changes.
const SAID = [...profileColumns, ...stateColumns]
const DATED = [users.clerkCreatedAt, users.clerkUpdatedAt, users.syncSource]
const SNAPSHOT = [users.id, ...SAID, ...DATED, users.clerkEventAt, users.clerkAskedAt]
const ANY = [...SNAPSHOT, users.claimsIssuedAt, users.claimsColumns, users.deletedAt]

/** A comma-separated list, with each column formatted by `each`. */
export const list = (columns: PgColumn[], each: (name: string, column: PgColumn) => string): SQL =>
  sql.raw(columns.map((column) => each(column.name, column)).join(', '))

// Times are sent as milliseconds; every other column as its own type.
export const isTime = (column: PgColumn) => column.dataType === 'date'
const name = (name: string) => name
const input = (name: string, column: PgColumn) => (isTime(column) ? `to_timestamp(i.${name} / 1000)` : `i.${name}`)
const inputType = (name: string, column: PgColumn) => `${name} ${isTime(column) ? 'float8' : column.getSQLType()}`
const current = (name: string) => `u.${name}`
const proposed = (name: string) => `excluded.${name}`
const fromProposed = (name: string) => `${name} = excluded.${name}`

/** The columns of the input `i`, as values and with their types. */
export const inputsOf = (columns: PgColumn[]) => list(columns, input)
export const inputTypesOf = (columns: PgColumn[]) => list(columns, inputType)

const isVersionless = sql.raw('u.clerk_updated_at is null')
const versionOf = (row: 'u' | 'excluded') =>
  sql.raw(`(${row}.clerk_updated_at, coalesce(${row}.clerk_event_at, '-infinity'))`)
// An answer of the Backend API that changes nothing is not written.
const isAccepted = (saysMore: SQL) => sql`(${isVersionless} or ${versionOf('excluded')} >= ${versionOf('u')}
      and (excluded.sync_source <> 'clerk_api' or ${versionOf('excluded')} > ${versionOf('u')} or ${saysMore}))`

// When Clerk last reported the user of the row, and when it reported the proposed snapshot, to compare with an inferred deletion.
const seenAt = sql.raw('greatest(u.clerk_updated_at, u.clerk_event_at, u.clerk_asked_at, u.deleted_at)')
const saidAt = sql.raw(`greatest(excluded.clerk_event_at, excluded.clerk_asked_at,
      case when excluded.sync_source = 'clerk_api' and excluded.clerk_asked_at is null then now() end)`)
// The tombstone of an inferred deletion has the source `clerk_api`. A later report of the user undoes it.
const isRevival = sql`u.sync_source = 'clerk_api' and ${saidAt} > u.deleted_at`
const lastAskedAt = sql.raw('clerk_asked_at = greatest(u.clerk_asked_at, excluded.clerk_asked_at)')

// An inferred tombstone keeps the version of the row that it cleared, so that an older event with the same `updated_at` stays older.
const eventAt = sql.raw(`case when u.deleted_at is not null and u.clerk_updated_at = excluded.clerk_updated_at
      then greatest(u.clerk_event_at, excluded.clerk_event_at) else excluded.clerk_event_at end`)

const snapshotSaysMore = sql`(${list(SAID, current)}) is distinct from (${list(SAID, proposed)})`

/** Most batches contain only snapshots; this statement costs PostgreSQL much less than `upsertAny`. */
const upsertSnapshots = statement<{ id: string; created: boolean }>(
  'users_upsert_snapshots',
  (t) => sql`insert into ${t(users)} as u (${list(SNAPSHOT, name)})
  select ${inputsOf(SNAPSHOT)}
  from json_to_recordset(${$(1)}::json) as i(${inputTypesOf(SNAPSHOT)})
  order by i.id
  on conflict (id) do update set
    ${list([...SAID, ...DATED], fromProposed)},
    clerk_event_at = ${eventAt}, ${lastAskedAt}, deleted_at = null,
    updated_at = case when u.deleted_at is not null or ${snapshotSaysMore} then now() else u.updated_at end
  where case when u.deleted_at is null then ${isAccepted(snapshotSaysMore)} else ${isRevival} end
  returning u.id, u.xmax = 0 as created`,
)

const isClaims = sql.raw('excluded.claims_issued_at is not null')
const isDeletion = sql.raw('excluded.deleted_at is not null')
const isInferredDeletion = sql.raw(`(excluded.deleted_at is not null and excluded.sync_source = 'clerk_api')`)
const areNewer = (issuedAt: string) => sql`(${isVersionless} or ${sql.raw(issuedAt)} > u.clerk_updated_at)
      and (u.claims_issued_at is null or ${sql.raw(issuedAt)} > u.claims_issued_at)`
const claimsAreNewer = areNewer('excluded.claims_issued_at')
// Older claims may still fill columns that no newer claims and no snapshot have set.
const claimsFill = sql`${isVersionless} and not excluded.claims_columns <@ u.claims_columns`

// The new value of a profile column: that of a snapshot, null after a deletion, and that of claims only if they name the column.
const merged = (column: PgColumn): SQL => {
  const named = sql.raw(`'${column.name}' = any(excluded.claims_columns)`)
  const namedBefore = sql.raw(`'${column.name}' = any(u.claims_columns)`)
  return sql`case
      when not (${isClaims}) then ${sql.raw(proposed(column.name))}
      when ${named} and ((${claimsAreNewer}) or not coalesce(${namedBefore}, false)) then ${sql.raw(proposed(column.name))}
      else ${sql.raw(current(column.name))} end`
}
// Claims never set these.
const unlessClaims = (column: PgColumn): SQL =>
  sql`case when ${isClaims} then u.${sql.raw(column.name)} else excluded.${sql.raw(column.name)} end`
const join = (fragments: SQL[]) => sql.join(fragments, sql`, `)
const set = (column: PgColumn, value: SQL) => sql`${sql.raw(column.name)} = ${value}`
const saysMore = sql`${isDeletion} or u.deleted_at is not null or (${list(SAID, current)})
      is distinct from (${join([...profileColumns.map(merged), ...stateColumns.map(unlessClaims)])})`
// Claims that would not be written, as in most syncs, are left out here, so that they lock no row and cause no disk write. The guard
// below decides finally.
const haveNoEffect = (t: Qualify): SQL => sql`(
    exists (select 1 from ${t(sessions)} s where s.id = i.session_id and s.status in ${FINAL_SQL})
    or exists (select 1 from ${t(users)} u where u.id = i.id and not coalesce(u.deleted_at is null
      and (${areNewer('to_timestamp(i.claims_issued_at / 1000)')}
        or ${isVersionless} and not i.claims_columns <@ u.claims_columns), true)))`
const UNCLAIMED = [...stateColumns, users.clerkCreatedAt]
const isUndated = sql`${isClaims} or ${isInferredDeletion}`

/** Snapshots, claims and deletions in one statement, so that all rows are locked in one order. */
const upsertAny = statement<{ id: string; created: boolean }>(
  'users_upsert',
  (t) => sql`insert into ${t(users)} as u (${list(ANY, name)})
  select ${inputsOf(ANY)}
  from json_to_recordset(${$(1)}::json) as i(${inputTypesOf(ANY)}, session_id text)
  where i.claims_issued_at is null or not ${haveNoEffect(t)}
  order by i.id
  on conflict (id) do update set
    ${join(profileColumns.map((column) => set(column, merged(column))))},
    ${join(UNCLAIMED.map((column) => set(column, unlessClaims(column))))},
    clerk_updated_at = case when ${isUndated} then u.clerk_updated_at else excluded.clerk_updated_at end,
    clerk_event_at = case when ${isUndated} then u.clerk_event_at
      when ${isDeletion} then excluded.clerk_event_at else ${eventAt} end,
    claims_issued_at = case when not ${isDeletion} then greatest(u.claims_issued_at, excluded.claims_issued_at) end,
    claims_columns = case
      when ${isDeletion} then null
      when ${isClaims} then array(select distinct unnest(u.claims_columns || excluded.claims_columns) order by 1)
      else u.claims_columns end,
    ${lastAskedAt},
    sync_source = excluded.sync_source,
    deleted_at = excluded.deleted_at,
    updated_at = case when ${saysMore} then now() else u.updated_at end
  where case
    when ${isInferredDeletion} then
      (u.deleted_at is null or u.sync_source = 'clerk_api') and excluded.deleted_at >= coalesce(${seenAt}, '-infinity')
    when ${isDeletion} then u.deleted_at is null or u.sync_source = 'clerk_api'
    when ${isClaims} then u.deleted_at is null and ((${claimsAreNewer}) or (${claimsFill}))
    when u.deleted_at is null then ${isAccepted(saysMore)}
    else ${isRevival} end
  returning u.id, u.xmax = 0 as created`,
)

/**
 * The statement that applies at most one change per id. It returns the ids that were written, with whether the row is new; a missing
 * id was stale. May be repeated. It locks the row of every change until the transaction ends, written or not, except for claims
 * that have no effect.
 */
export const upsertUsers = (changes: UserChange[]) =>
  (changes.every(({ kind }) => kind === 'snapshot') ? upsertSnapshots : upsertAny).call(
    JSON.stringify(changes.map(toRow)),
  )

const namesOf = <Key extends string>(columns: Record<Key, PgColumn>) =>
  Object.entries<PgColumn>(columns).map(([key, { name }]) => [key as Key, name] as const)
const PROFILE_NAMES = namesOf(PROFILE)
const STATE_NAMES = namesOf(STATE)

/** A change as the input of a statement, without the columns that are null. */
export function toRow(change: UserChange): Record<string, unknown> {
  const profile = change.kind === 'deletion' ? EMPTY_PROFILE : { ...EMPTY_PROFILE, ...change.profile }
  const state = change.kind === 'snapshot' ? change : EMPTY_STATE
  const row: Record<string, unknown> = { id: change.id, sync_source: sourceOf(change) }
  for (const [key, name] of PROFILE_NAMES) if (profile[key] !== null) row[name] = profile[key]
  for (const [key, name] of STATE_NAMES) if (state[key] !== null) row[name] = state[key]
  if (change.kind === 'claims') {
    row.claims_issued_at = change.issuedAt
    row.session_id = change.sessionId
    row.claims_columns = Object.keys(change.profile).map((key) => PROFILE[key as keyof Profile].name)
  } else if (change.kind === 'deletion') {
    row.deleted_at = change.deletedAt
    // An inferred deletion sets no version.
    if (!isInferred(change)) row.clerk_updated_at = row.clerk_event_at = change.deletedAt
  } else {
    row.clerk_created_at = change.clerkCreatedAt
    row.clerk_updated_at = change.version.updatedAt
    row.clerk_event_at = change.version.eventAt
    row.clerk_asked_at = change.askedAt
  }
  return row
}

function sourceOf(change: UserChange): SyncSource {
  if (change.kind === 'claims') return change.source ?? 'session_claims'
  return change.kind === 'deletion' ? (change.source ?? 'webhook') : change.source
}
