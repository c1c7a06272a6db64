/** The sizes of the tables and the number of connections. */
import { resources } from '../resources/index.ts'
import { getTableName, type PgTable, sql } from './drizzle.ts'
import { webhookEvents } from './schema.ts'
import { type Executor, type Qualify, statement } from './statement.ts'

export interface DatabaseSize {
  /** Connections of all clients, and the limit. */
  connections: number
  maxConnections: number
  /** Rows: exact up to 10,000, PostgreSQL's estimate beyond. */
  tables: { name: string; rows: number; bytes: number }[]
}

const selectConnections = statement<Pick<DatabaseSize, 'connections' | 'maxConnections'>>(
  'connections',
  () => sql`select count(*)::int as connections, current_setting('max_connections')::int as "maxConnections"
  from pg_stat_activity where backend_type = 'client backend'`,
)
const COUNTED = sql.raw('10000')

// Statistics lag by seconds and are zero after a crash, so rows are counted while that is cheap.
const size = (t: Qualify, table: PgTable) => sql`select ${sql.raw(`'${getTableName(table)}'`)} as name,
    case when counted < ${COUNTED} then counted else greatest(counted, s.n_live_tup) end::float8 as rows,
    pg_total_relation_size(s.relid)::float8 as bytes
  from pg_stat_user_tables s, (select count(*) as counted from (select from ${t(table)} limit ${COUNTED}) r) c
  where s.relid = (${t.schema} || '.${sql.raw(getTableName(table))}')::regclass`

const selectTables = statement<DatabaseSize['tables'][number]>(
  'table_sizes',
  (t) =>
    sql`${sql.join(
      [...resources.map(({ table }) => table), webhookEvents].map((table) => size(t, table)),
      sql` union all `,
    )} order by 1`,
)

export async function findDatabaseSize(executor: Executor): Promise<DatabaseSize> {
  const [connections] = await selectConnections(executor)
  return { ...(connections as Omit<DatabaseSize, 'tables'>), tables: await selectTables(executor) }
}
