import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { MIGRATIONS, MIGRATIONS_TABLE, withClient } from './migrate.ts'
import { DEFAULT_SCHEMA, plain } from './schema-name.ts'

export interface MigrationStatus {
  name: string
  isApplied: boolean
}

interface Journal {
  entries: { tag: string; when: number }[]
}

/** Every migration of this release, and whether the database has it. Changes nothing. Rejects with PostgreSQL's error. */
export async function findMigrationStatus(
  connectionString: string,
  schema: string = DEFAULT_SCHEMA,
): Promise<MigrationStatus[]> {
  const journal: Journal = JSON.parse(readFileSync(join(MIGRATIONS, 'meta/_journal.json'), 'utf8'))
  const table = `"${plain(schema)}"."${MIGRATIONS_TABLE}"`
  return withClient(connectionString, async (client) => {
    const { rows: found } = await client.query('select to_regclass($1) is not null as there', [table])
    if (!found[0].there) return journal.entries.map(({ tag }) => ({ name: tag, isApplied: false }))
    // Compares the time of a migration in the journal with that of the newest applied one.
    const { rows } = await client.query(`select coalesce(max(created_at), 0)::float8 as newest from ${table}`)
    return journal.entries.map(({ tag, when }) => ({ name: tag, isApplied: when <= rows[0].newest }))
  })
}
