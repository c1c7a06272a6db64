/** How full the database is. */
import { sql } from 'drizzle-orm'
import { type Executor, statement } from './statement.ts'

export interface DatabaseSize {
  /** Of everybody, and how many there may be. */
  connections: number
  maxConnections: number
  /** Rows as PostgreSQL estimates them. */
  tables: { name: string; rows: number; bytes: number }[]
}

const selectConnections = statement<Pick<DatabaseSize, 'connections' | 'maxConnections'>>(
  'connections',
  () => sql`select count(*)::int as connections, current_setting('max_connections')::int as "maxConnections"
  from pg_stat_activity where backend_type = 'client backend'`,
)
const selectTables = statement<DatabaseSize['tables'][number]>(
  'table_sizes',
  (
    t,
  ) => sql`select relname as name, greatest(s.n_live_tup, 0)::float8 as rows, pg_total_relation_size(relid)::float8 as bytes
  from pg_stat_user_tables s
  where schemaname = ${t.schema} and relname in ('users', 'sessions', 'organizations',
    'organization_memberships', 'organization_roles', 'organization_invitations', 'webhook_events') order by 1`,
)

export async function findDatabaseSize(executor: Executor): Promise<DatabaseSize> {
  const [connections] = await selectConnections(executor)
  return { ...(connections as Omit<DatabaseSize, 'tables'>), tables: await selectTables(executor) }
}
