import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import pg from 'pg'
import { MIGRATIONS, MIGRATIONS_TABLE } from './migrate.ts'
import { plain } from './search-path.ts'

export interface MigrationStatus {
  name: string
  isApplied: boolean
}

interface Journal {
  entries: { tag: string; when: number }[]
}

/** Every migration of this release, and whether the database has it. Changes nothing. Rejects with PostgreSQL's error. */
export async function findMigrationStatus(connectionString: string, schema?: string): Promise<MigrationStatus[]> {
  const journal: Journal = JSON.parse(readFileSync(join(MIGRATIONS, 'meta/_journal.json'), 'utf8'))
  const client = new pg.Client({
    connectionString,
    application_name: 'clerk-session-sync migrate',
    connectionTimeoutMillis: 5_000,
    query_timeout: 10_000,
  })
  client.on('error', () => undefined) // The query under way rejects as well.
  await client.connect()
  try {
    const table = `"${plain(schema ?? 'public')}"."${MIGRATIONS_TABLE}"`
    const { rows: found } = await client.query('select to_regclass($1) is not null as there', [table])
    if (!found[0].there) return journal.entries.map(({ tag }) => ({ name: tag, isApplied: false }))
    // drizzle dates a migration by its entry in the journal, and applies whatever is newer than the newest.
    const { rows } = await client.query(`select coalesce(max(created_at), 0)::float8 as newest from ${table}`)
    return journal.entries.map(({ tag, when }) => ({ name: tag, isApplied: when <= rows[0].newest }))
  } finally {
    await client.end()
  }
}
