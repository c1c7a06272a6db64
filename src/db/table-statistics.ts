/** The row counts of the tables, at a cost that does not grow with them. */

import { organizationMemberships } from '../resources/membership/table.ts'
import { organizations } from '../resources/organization/table.ts'
import { sessions } from '../resources/session/table.ts'
import { users } from '../resources/user/table.ts'
import { getTableName, type PgTable, sql } from './drizzle.ts'
import { isWaiting } from './ledger.ts'
import { lastReceived } from './ledger-summary.ts'
import { webhookEvents } from './schema.ts'
import { type Executor, type Qualify, statement } from './statement.ts'

export interface TableStatistics {
  /** Rows, including tombstones. Exact below 1,000, the planner's estimate beyond. */
  users: number
  sessions: number
  organizations: number
  memberships: number
  /** Failed events that wait for a replay; counted up to 1,000. */
  failedEvents: number
  /** When Clerk's newest webhook was received, in seconds since 1970; null before the first. */
  lastReceivedAt: number | null
}

const COUNTED = sql.raw('1000')
const rows = (t: Qualify, table: PgTable) => sql`(
  select case when c.reltuples >= ${COUNTED} then c.reltuples::float8
    else (select count(*) from (select 1 from ${t(table)} limit ${COUNTED}) r)::float8 end
  from pg_class c where c.oid = (${t.schema} || '.${sql.raw(getTableName(table))}')::regclass)`

const select = statement<TableStatistics>(
  'table_statistics',
  (t) => sql`select ${rows(t, users)} as users, ${rows(t, sessions)} as sessions,
    ${rows(t, organizations)} as organizations, ${rows(t, organizationMemberships)} as memberships,
    (select count(*)::int from (select 1 from ${t(webhookEvents)} e where ${isWaiting(t)} limit ${COUNTED}) f) as "failedEvents",
    extract(epoch from ${lastReceived(t)})::float8 as "lastReceivedAt"`,
)

/** Reads the current statistics. */
export async function findTableStatistics(executor: Executor): Promise<TableStatistics> {
  const [row] = await select(executor)
  return row as TableStatistics
}
