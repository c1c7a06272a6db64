import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { MIGRATIONS, MIGRATIONS_TABLE, SchemaError, withClient } from './migrate.ts'
import { DEFAULT_SCHEMA, plain } from './schema-name.ts'
import type { Executor } from './statement.ts'

export interface MigrationStatus {
  name: string
  isApplied: boolean
}

interface Journal {
  entries: { tag: string; when: number }[]
}
const readJournal = (): Journal => JSON.parse(readFileSync(join(MIGRATIONS, 'meta/_journal.json'), 'utf8'))

/** Every migration of this release, and whether the database has it. Changes nothing. Rejects with PostgreSQL's error. */
export async function findMigrationStatus(
  connectionString: string,
  schema: string = DEFAULT_SCHEMA,
): Promise<MigrationStatus[]> {
  const journal = readJournal()
  const table = `"${plain(schema)}"."${MIGRATIONS_TABLE}"`
  return withClient(connectionString, async (client) => {
    const { rows: found } = await client.query('select to_regclass($1) is not null as there', [table])
    if (!found[0].there) return journal.entries.map(({ tag }) => ({ name: tag, isApplied: false }))
    // Compares the time of a migration in the journal with that of the newest applied one.
    const { rows } = await client.query(`select coalesce(max(created_at), 0)::float8 as newest from ${table}`)
    return journal.entries.map(({ tag, when }) => ({ name: tag, isApplied: when <= rows[0].newest }))
  })
}

// Undefined table, and a schema that does not exist.
const MISSING: ReadonlySet<unknown> = new Set(['42P01', '3F000'])

/** Rejects with `SchemaError` if a migration is pending, or with PostgreSQL's error. */
export async function assertMigrated(executor: Executor): Promise<void> {
  const { schema } = executor
  const text = `select coalesce(max(created_at), 0)::float8 as newest from "${schema}"."${MIGRATIONS_TABLE}"`
  const { rows } = await executor.query({ name: '', text, values: [] }).catch((error: { code?: unknown }) => {
    if (MISSING.has(error.code)) return { rows: [{ newest: 0 }] }
    throw error
  })
  const [{ newest }] = rows as [{ newest: number }]
  if (readJournal().entries.every(({ when }) => when <= newest)) return
  throw new SchemaError(
    `the tables in the schema "${schema}" are missing or of an earlier version: await migrate(connectionString, { schema: '${schema}' }) ` +
      'before the app is ready, or run clerk-session-sync migrate',
  )
}
