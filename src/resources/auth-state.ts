/** The state that every authenticated request needs: the user's row, the session's state and, if asked for, the membership. */
import { type PgColumn, type SQL, sql } from '../db/drizzle.ts'
import { type Call, type Executor, milliseconds, type Qualify, runCall, statement } from '../db/statement.ts'
import { parseJson } from '../domain/clean.ts'
import type { OrganizationRows } from '../domain/membership.ts'
import type { Version } from '../domain/version.ts'
import { organizationMemberships } from './membership/table.ts'
import { organizations } from './organization/table.ts'
import { organizationRoles } from './role/table.ts'
import { sessions } from './session/table.ts'
import type { User } from './user/payload.ts'
import { users } from './user/table.ts'
import { isTime, list, profileColumns } from './user/upsert.ts'

/** The user and session to look up; tokens of JWT templates have no session. */
export interface AuthKey {
  userId: string
  sessionId: string | null
  /** Set if the membership is needed: what the token says about it, and when it was issued (ms). */
  organization?: { id: string; role: string | null; issuedAtMs: number }
}

declare module '../domain/change.ts' {
  interface Change {
    /** The state to return, as it is after the change. */
    returns?: AuthKey
  }
}

/** The state of a user and a session, read in one query and never cached. */
export interface AuthState {
  /** Undefined if there is no row, or only a tombstone. */
  user: User | undefined
  isDeleted: boolean
  /** Whether the deletion was inferred, so that Clerk may undo it. */
  isInferred: boolean
  isBanned: boolean
  isDeprovisioned: boolean
  /** Undefined before the first event about the session. */
  sessionStatus: string | undefined
  /** Undefined if the key has no organization. */
  organization: OrganizationRows | undefined
}

interface StateRow extends Record<string, unknown> {
  /** The position of its key, from 1; a string, because pg returns bigint so. */
  n: string
  id: string | null
  session_status: string | null
  /** Only in statements with organizations. */
  organization_known?: boolean
}

const READ = [
  users.id,
  ...profileColumns,
  users.banned,
  users.deprovisioned,
  users.syncSource,
  users.createdAt,
  users.updatedAt,
  users.deletedAt,
]

// Times are selected as milliseconds and metadata as text, because pg's own conversion would cost more.
const output = (name: string, column: PgColumn) => {
  if (column.getSQLType() === 'jsonb') return `u.${name}::text`
  return isTime(column) ? `round(date_part('epoch', u.${name}) * 1000) as ${name}` : `u.${name}`
}

// `unnest((select …))` keeps the row estimate constant, so that PostgreSQL uses the generic plan: a custom plan for every
// single-row read costs more than the read.
const states = (
  t: Qualify,
  of: { arrays: string; names: string; columns?: SQL; joins?: SQL },
) => sql`select k.n, ${list(READ, output)},
    s.status as session_status${of.columns ?? sql``}
  from unnest(${sql.raw(of.arrays)}) with ordinality as k(${sql.raw(of.names)}, n)
  left join ${t(users)} u on u.id = k.user_id
  left join ${t(sessions)} s on s.id = k.session_id${of.joins ?? sql``}`

const selectStates = statement<StateRow>('auth_states', (t) =>
  states(t, { arrays: '(select $1::text[]), (select $2::text[])', names: 'user_id, session_id' }),
)

const version = (of: string) => sql`${milliseconds(sql.raw(`${of}.clerk_updated_at`))} as ${sql.raw(of)}_at,
    ${milliseconds(sql.raw(`${of}.clerk_event_at`))} as ${sql.raw(of)}_event_at`

/** Like `selectStates`, with the membership. */
const selectStatesWithMembership = statement<StateRow & MembershipRow>('auth_states_membership', (t) =>
  states(t, {
    arrays: '(select $1::text[]), (select $2::text[]), (select $3::text[]), (select $4::text[]), (select $5::float8[])',
    names: 'user_id, session_id, organization_id, role, issued_at',
    columns: sql`, o.id is not null as organization_known, o.name as organization_name, o.slug as organization_slug,
    o.deleted_at is not null as organization_deleted, membership.role as membership_role,
    membership.permissions as membership_permissions, ${milliseconds(sql`membership.ended_at`)} as membership_ended_at,
    ${version('membership')}, role.permissions as role_permissions, ${version('role')}`,
    joins: sql`
  left join ${t(organizations)} o on o.id = k.organization_id
  left join lateral (
    select m.role, m.permissions, m.clerk_updated_at, m.clerk_event_at, m.ended_at from ${t(organizationMemberships)} m
    where m.user_id = k.user_id and m.organization_id = k.organization_id
    order by m.clerk_created_at desc nulls last, m.ended_at desc nulls first, m.clerk_updated_at desc limit 1) membership on true
  left join lateral (
    select r.permissions, r.clerk_updated_at, r.clerk_event_at from ${t(organizationRoles)} r
    where r.deleted_at is null and r.key = case
      when membership.ended_at is null and membership.clerk_updated_at > to_timestamp(k.issued_at / 1000)
      then membership.role else k.role end
    order by r.clerk_updated_at desc, r.clerk_event_at desc nulls last, r.id limit 1) role on true`,
  }),
)

interface MembershipRow {
  organization_known: boolean
  organization_name: string | null
  organization_slug: string | null
  organization_deleted: boolean
  membership_role: string | null
  membership_permissions: string[] | null
  membership_ended_at: number | null
  membership_at: number | null
  membership_event_at: number | null
  role_permissions: string[] | null
  role_at: number | null
  role_event_at: number | null
}

/**
 * The calls that read the states of many users and sessions, and their results in the order of the keys. Keys without an
 * organization use a cheaper statement. In a transaction they see what it has written.
 */
export function authStateReads(keys: readonly AuthKey[]): { calls: Call[]; states: () => AuthState[] } {
  const plain: number[] = []
  const asking: number[] = []
  for (const [position, { organization }] of keys.entries()) (organization ? asking : plain).push(position)
  const of = <T>(positions: number[], value: (key: AuthKey) => T) => positions.map((i) => value(keys[i] as AuthKey))
  const idsOf = (positions: number[]) => [of(positions, ({ userId }) => userId), of(positions, (key) => key.sessionId)]

  const reads: { positions: number[]; call: Call<StateRow> }[] = []
  if (plain.length > 0) reads.push({ positions: plain, call: selectStates.call(...idsOf(plain)) })
  if (asking.length > 0) {
    const call = selectStatesWithMembership.call(
      ...idsOf(asking),
      of(asking, ({ organization }) => organization?.id),
      of(asking, ({ organization }) => organization?.role),
      of(asking, ({ organization }) => organization?.issuedAtMs),
    )
    reads.push({ positions: asking, call })
  }
  function states(): AuthState[] {
    const found = new Array<AuthState>(keys.length)
    for (const { positions, call } of reads) {
      for (const row of call.rows) found[positions[Number(row.n) - 1] as number] = toState(row)
    }
    return found
  }
  return { calls: reads.map(({ call }) => call), states }
}

/** The states of many users and sessions, in the order of the keys. */
export async function findAuthStates(executor: Executor, keys: readonly AuthKey[]): Promise<AuthState[]> {
  const { calls, states } = authStateReads(keys)
  await Promise.all(calls.map((call) => runCall(executor, call)))
  return states()
}

function toState(row: StateRow): AuthState {
  return {
    user: row.id === null || row.deleted_at !== null ? undefined : toUser(row),
    isDeleted: row.deleted_at !== null,
    isInferred: row.deleted_at !== null && row.sync_source === 'clerk_api',
    isBanned: row.banned === true,
    isDeprovisioned: row.deprovisioned === true,
    sessionStatus: row.session_status ?? undefined,
    organization: row.organization_known === undefined ? undefined : toOrganization(row as StateRow & MembershipRow),
  }
}

function toOrganization(row: MembershipRow): OrganizationRows {
  return {
    organization: row.organization_known
      ? { name: row.organization_name, slug: row.organization_slug, isDeleted: row.organization_deleted }
      : undefined,
    membership: row.membership_permissions
      ? {
          role: row.membership_role,
          permissions: row.membership_permissions,
          version: toVersion(row.membership_at, row.membership_event_at),
          endedAt: row.membership_ended_at,
        }
      : undefined,
    role: row.role_permissions
      ? { permissions: row.role_permissions, version: toVersion(row.role_at, row.role_event_at) }
      : undefined,
  }
}

const toVersion = (updatedAt: number | null, eventAt: number | null): Version => ({
  updatedAt: updatedAt as number,
  eventAt,
})

function toUser(row: Record<string, unknown>): User {
  return {
    id: row.id as string,
    externalId: row.external_id as string | null,
    email: row.email as string | null,
    emailVerified: row.email_verified as boolean | null,
    phoneNumber: row.phone_number as string | null,
    firstName: row.first_name as string | null,
    lastName: row.last_name as string | null,
    username: row.username as string | null,
    imageUrl: row.image_url as string | null,
    // Parsed from text, so that numbers beyond 2^53 are returned exactly.
    publicMetadata: parseJson(row.public_metadata as string) as User['publicMetadata'],
    lastSignInAt: row.last_sign_in_at === null ? null : toIso(row.last_sign_in_at),
    createdAt: toIso(row.created_at),
    updatedAt: toIso(row.updated_at),
  }
}

const toIso = (milliseconds: unknown) => new Date(milliseconds as number).toISOString()
