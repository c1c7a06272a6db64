/** What every request must know: the row of its user and the state of its session. */
import { sql } from 'drizzle-orm'
import type { PgColumn } from 'drizzle-orm/pg-core'
import { $, type Executor, statement } from '../db/statement.ts'
import { parseJson } from '../domain/clean.ts'
import { sessions } from './session/table.ts'
import type { User } from './user/payload.ts'
import { users } from './user/table.ts'
import { isTime, list, profileColumns } from './user/upsert.ts'

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
  /** The deletion was inferred: Clerk may say otherwise. */
  isInferred: boolean
  isBanned: boolean
  isDeprovisioned: boolean
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
  users.deprovisioned,
  users.syncSource,
  users.clerkUpdatedAt,
  users.claimsIssuedAt,
  users.createdAt,
  users.updatedAt,
  users.deletedAt,
]

// Times leave as they came, in milliseconds, and metadata as text: both cost less than what pg would make of them.
const output = (name: string, column: PgColumn) => {
  if (column.getSQLType() === 'jsonb') return `u.${name}::text`
  return isTime(column) ? `round(date_part('epoch', u.${name}) * 1000) as ${name}` : `u.${name}`
}

// `unnest((select …))` keeps the row estimate constant, so that PostgreSQL uses the generic plan: a custom plan for every
// single-row read costs more than the read.
const selectStates = statement<StateRow>(
  'auth_states',
  (t) => sql`select k.n, ${list(READ, output)}, s.status as session_status
  from unnest((select ${$(1)}::text[]), (select ${$(2)}::text[])) with ordinality as k(user_id, session_id, n)
  left join ${t(users)} u on u.id = k.user_id
  left join ${t(sessions)} s on s.id = k.session_id`,
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
    isInferred: row.deleted_at !== null && row.sync_source === 'clerk_api',
    isBanned: row.banned === true,
    isDeprovisioned: row.deprovisioned === true,
    sessionStatus: row.session_status ?? undefined,
    clerkUpdatedAt: (row.clerk_updated_at as number | null) ?? -Infinity,
    claimsIssuedAt: (row.claims_issued_at as number | null) ?? -Infinity,
  }
}

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
    // As text, so that numbers beyond 2^53 come back as they were stored.
    publicMetadata: parseJson(row.public_metadata as string) as User['publicMetadata'],
    lastSignInAt: row.last_sign_in_at === null ? null : toIso(row.last_sign_in_at),
    createdAt: toIso(row.created_at),
    updatedAt: toIso(row.updated_at),
  }
}

const toIso = (milliseconds: unknown) => new Date(milliseconds as number).toISOString()
