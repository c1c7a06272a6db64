/**
 * The reads of the dashboard. Each reads a limited number of the newest rows of an index, so that its cost does not grow with the
 * tables. Times are ISO 8601.
 */

import { organizationMemberships } from '../resources/membership/table.ts'
import { organizations } from '../resources/organization/table.ts'
import { sessions } from '../resources/session/table.ts'
import { users } from '../resources/user/table.ts'
import { type SQL, sql } from './drizzle.ts'
import { isWaiting } from './ledger.ts'
import { webhookEvents } from './schema.ts'
import { $, type Executor, type Qualify, statement } from './statement.ts'

/** The largest number of webhooks in the charts. */
export const MAX_CHARTED = 50_000
/** The number of newest webhooks that are searched for the last of each type. */
export const MAX_RECENT = 10_000
const MAX_FAILED = sql.raw('100')
const MAX_FOUND = sql.raw('10')
const MAX_OF_USER = sql.raw('20')
// Limits how many members of a large organization are sorted.
const MAX_SORTED = sql.raw('1000')

const iso = (time: SQL) => sql`to_char(${time} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`

/** The webhooks whose first delivery was in a span of time. */
export interface LedgerBucket {
  /** The start of the span. */
  at: string
  applied: number
  stale: number
  ignored: number
  failed: number
  usersCreated: number
  usersDeleted: number
  /** From the event at Clerk to its commit, for applied events; null if there are none. */
  delayMedianSeconds: number | null
  delayP95Seconds: number | null
}

const counted = (condition: SQL) => sql`(count(*) filter (where ${condition}))::int`
const took = sql`outcome in ('applied', 'stale')`
// The last bucket is the current one, by PostgreSQL's clock, which also dates the rows.
const present = sql`floor(extract(epoch from now()) / ${$(1)}::int)::bigint`
const first = sql`(${present} - ${$(2)}::int + 1)`

const selectBuckets = statement<LedgerBucket>(
  'dashboard_buckets',
  (t) => sql`with charted as (
    select type, outcome, floor(extract(epoch from received_at) / ${$(1)}::int)::bigint as n,
      case when outcome = 'applied' then greatest(extract(epoch from processed_at - event_at), 0)::float8 end as delay
    from ${t(webhookEvents)}
    where received_at >= to_timestamp(${first} * ${$(1)}::int)
    order by received_at desc limit ${sql.raw(String(MAX_CHARTED))}),
  counted as (
    select n, ${counted(sql`outcome = 'applied'`)} as applied, ${counted(sql`outcome = 'stale'`)} as stale,
      ${counted(sql`outcome = 'ignored'`)} as ignored, ${counted(sql`outcome = 'failed'`)} as failed,
      ${counted(sql`type = 'user.created' and ${took}`)} as created,
      ${counted(sql`type = 'user.deleted' and ${took}`)} as deleted,
      percentile_cont(0.5) within group (order by delay) as median,
      percentile_cont(0.95) within group (order by delay) as p95
    from charted group by n)
  select ${iso(sql`to_timestamp(b.n * ${$(1)}::int)`)} as at, coalesce(applied, 0) as applied, coalesce(stale, 0) as stale,
    coalesce(ignored, 0) as ignored, coalesce(failed, 0) as failed, coalesce(created, 0) as "usersCreated",
    coalesce(deleted, 0) as "usersDeleted", median as "delayMedianSeconds", p95 as "delayP95Seconds"
  from generate_series(${first}, ${present}) as b(n) left join counted using (n) order by b.n`,
)

/** The ledger in `count` buckets of `stepSeconds` each, the last one being the current one. */
export const findLedgerBuckets = (executor: Executor, stepSeconds: number, count: number): Promise<LedgerBucket[]> =>
  selectBuckets(executor, stepSeconds, count)

const recent = (t: Qualify) =>
  sql`(select * from ${t(webhookEvents)} order by received_at desc limit ${sql.raw(String(MAX_RECENT))}) r`

export interface LastOfType {
  type: string
  /** The number among the newest webhooks. */
  messages: number
  lastReceivedAt: string
  lastOutcome: string
}

const selectLast = statement<LastOfType>(
  'dashboard_last_of_type',
  (t) => sql`select type, count(*)::int as messages, ${iso(sql`max(received_at)`)} as "lastReceivedAt",
    (array_agg(outcome order by received_at desc))[1] as "lastOutcome"
  from ${recent(t)} group by type order by max(received_at) desc limit 50`,
)

/** The last webhook of each type, among the newest of the ledger. */
export const findLastOfTypes = (executor: Executor): Promise<LastOfType[]> => selectLast(executor)

export interface FailedHead {
  id: string
  type: string
  objectId: string | null
  error: string | null
  attempts: number
  receivedAt: string
  /** Whether its payload was kept. */
  isReplayable: boolean
}

const selectFailed = statement<FailedHead>(
  'dashboard_failed',
  (
    t,
  ) => sql`select id, type, object_id as "objectId", left(error, 1000) as error, attempts, ${iso(sql`received_at`)} as "receivedAt",
    payload is not null as "isReplayable"
  from ${t(webhookEvents)} e where ${isWaiting(t)} order by received_at desc, id limit ${MAX_FAILED}`,
)

/** The newest failed events, without their payloads. */
export const findFailedHeads = (executor: Executor): Promise<FailedHead[]> => selectFailed(executor)

export interface FoundUser {
  id: string
  email: string | null
  name: string | null
  isBanned: boolean
  syncSource: string
  createdAt: string
  updatedAt: string
  deletedAt: string | null
}
export interface FoundEvent {
  id: string
  type: string
  outcome: string
  receivedAt: string
}
export interface FoundSession {
  id: string
  userId: string
  status: string
  updatedAt: string
}
export interface FoundMembership {
  organizationId: string | null
  organization: string | null
  userId: string | null
  email: string | null
  role: string | null
  updatedAt: string
  endedAt: string | null
}
export interface FoundUsers {
  users: FoundUser[]
  /** Their newest sessions. */
  sessions: FoundSession[]
  /** Their memberships, or those of the requested organization; current ones first. */
  memberships: FoundMembership[]
  /** Events about them, among the newest of the ledger. */
  events: FoundEvent[]
}

const selectUsers = statement<FoundUser>(
  'dashboard_users',
  (t) => sql`select id, email, nullif(concat_ws(' ', first_name, last_name), '') as name, banned as "isBanned",
    sync_source as "syncSource", ${iso(sql`created_at`)} as "createdAt", ${iso(sql`updated_at`)} as "updatedAt",
    ${iso(sql`deleted_at`)} as "deletedAt"
  from ${t(users)} where id = ${$(1)} or email = ${$(1)} or email = lower(${$(1)}) order by id limit ${MAX_FOUND}`,
)
const selectSessions = statement<FoundSession>(
  'dashboard_sessions',
  (t) => sql`select id, user_id as "userId", status, ${iso(sql`clerk_updated_at`)} as "updatedAt"
  from ${t(sessions)} where user_id = any(${$(1)}::text[]) order by clerk_updated_at desc limit ${MAX_OF_USER}`,
)
const selectMemberships = statement<FoundMembership>(
  'dashboard_memberships',
  (
    t,
  ) => sql`select m.organization_id as "organizationId", o.name as organization, m.user_id as "userId", u.email, m.role,
    ${iso(sql`m.clerk_updated_at`)} as "updatedAt", ${iso(sql`m.ended_at`)} as "endedAt"
  from (
    select * from (
      (select * from ${t(organizationMemberships)} where user_id = any(${$(1)}::text[]) limit ${MAX_SORTED})
      union all (select * from ${t(organizationMemberships)} where organization_id = ${$(2)} limit ${MAX_SORTED})) found
    order by ended_at desc nulls first, clerk_updated_at desc, id limit ${MAX_OF_USER}) m
  left join ${t(organizations)} o on o.id = m.organization_id
  left join ${t(users)} u on u.id = m.user_id
  order by m.ended_at desc nulls first, m.clerk_updated_at desc, m.id`,
)
const selectEvents = statement<FoundEvent>(
  'dashboard_events',
  (t) => sql`select id, type, outcome, ${iso(sql`received_at`)} as "receivedAt"
  from ${recent(t)} where object_id = any(${$(1)}::text[]) order by received_at desc limit ${MAX_OF_USER}`,
)

/** Finds users by id or exact email address, with their sessions, memberships and events; or the members of an organization. */
export async function searchUsers(executor: Executor, idOrEmail: string): Promise<FoundUsers> {
  const found = await selectUsers(executor, idOrEmail)
  const ids = found.map(({ id }) => id)
  const theirs = await selectSessions(executor, ids)
  const memberships = await selectMemberships(executor, ids, idOrEmail)
  const about = [...ids, ...theirs.map(({ id }) => id), ...(memberships.length > 0 ? [idOrEmail] : [])]
  const events = await selectEvents(executor, about)
  return { users: found, sessions: theirs, memberships, events }
}
