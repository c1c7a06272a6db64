/** Migrations made by drizzle-kit, applied under an advisory lock so that replicas may start together. */
import { fileURLToPath } from 'node:url'
import { DrizzleQueryError } from 'drizzle-orm'
import { drizzle } from 'drizzle-orm/node-postgres'
import { migrate as drizzleMigrate } from 'drizzle-orm/node-postgres/migrator'
import pg from 'pg'
import { plain } from './search-path.ts'

// Any number, as long as every replica takes the same ("clerk" in ASCII).
export const MIGRATION_LOCK = 0x636c65726b
const LOCK_TIMEOUT_MS = 60_000

export const MIGRATIONS_TABLE = 'clerk_session_sync_migrations'
export const MIGRATIONS = fileURLToPath(new URL('../../migrations', import.meta.url))

export interface MigrateOptions {
  /** The schema of the tables, made when it is missing; the database's own first one unless told. */
  schema?: string
}

/**
 * Brings the database up to the newest migration; repeating it changes nothing. Other replicas that start at the same time
 * wait for the first (60 s at most). Rejects with PostgreSQL's error, and then nothing of the failed migration stays.
 */
export async function migrate(connectionString: string, { schema }: MigrateOptions = {}): Promise<void> {
  const searchPath = schema && `"${plain(schema)}"`
  const client = new pg.Client({
    connectionString,
    application_name: 'clerk-session-sync migrate',
    connectionTimeoutMillis: 5_000,
  })
  client.on('error', () => undefined) // The query under way rejects as well.
  await client.connect()
  try {
    // One transaction from the lock to the end, for a pooler in transaction mode: drizzle's own `begin` changes nothing inside
    // it, and its `commit` ends it.
    await client.query(`begin; set local lock_timeout = ${LOCK_TIMEOUT_MS}`)
    await client.query('select pg_advisory_xact_lock($1)', [MIGRATION_LOCK])
    // After the lock: PostgreSQL would go on believing that there is no schema which another replica has made meanwhile.
    if (searchPath) await client.query(`set local search_path = ${searchPath}`)
    // A table of its own, since drizzle skips what is older than the newest row: an application's migrations may be there too.
    await drizzleMigrate(drizzle(client), {
      migrationsFolder: MIGRATIONS,
      migrationsSchema: schema ?? 'public',
      migrationsTable: MIGRATIONS_TABLE,
    })
  } catch (error) {
    throw error instanceof DrizzleQueryError ? error.cause : error
  } finally {
    await client.end() // Frees the lock where drizzle did not come to its end.
  }
}
