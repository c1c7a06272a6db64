/** How much the tables hold, at a cost that does not grow with them. */
import { sql } from 'drizzle-orm'
import { sessions, users, webhookEvents } from './schema.ts'
import { type Executor, statement } from './statement.ts'

export interface TableStatistics {
  /** Rows, tombstones included. Exact below 1,000, an estimate of the planner's beyond. */
  users: number
  sessions: number
  /** Events that wait for a replay; 1,000 at most. */
  failedEvents: number
  /** When the newest webhook came, in seconds since 1970; null before the first. */
  lastReceivedAt: number | null
}

const COUNTED = sql.raw('1000')
const rows = (table: typeof users | typeof sessions, name: string) => sql`(
  select case when c.reltuples >= ${COUNTED} then c.reltuples::float8
    else (select count(*) from (select 1 from ${table} limit ${COUNTED}) r)::float8 end
  from pg_class c where c.oid = ${sql.raw(`'${name}'`)}::regclass)`

const select = statement<TableStatistics>(
  'table_statistics',
  sql`select ${rows(users, 'users')} as users, ${rows(sessions, 'sessions')} as sessions,
    (select count(*)::int from (select 1 from ${webhookEvents} where outcome = 'failed' limit ${COUNTED}) f) as "failedEvents",
    (select extract(epoch from max(received_at))::float8 from ${webhookEvents}) as "lastReceivedAt"`,
)

/** The statistics as PostgreSQL has them now. */
export async function findTableStatistics(executor: Executor): Promise<TableStatistics> {
  const [row] = await select(executor)
  return row as TableStatistics
}
