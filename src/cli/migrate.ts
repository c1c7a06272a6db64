/** `migrate`: brings the database up to date, or says how far it is. */
import { keepChanges } from '../db/changes/enable.ts'
import { migrate } from '../db/migrate.ts'
import { findMigrationStatus } from '../db/migration-status.ts'
import { type Context, EXIT_DONE, EXIT_FAILED } from './context.ts'

export interface MigrateFlags {
  status?: boolean
  /** The schema from which the tables are moved. */
  fromSchema?: string
  /** False turns the change feed off. */
  changes?: boolean
}

export async function runMigrate(
  { config, output }: Context,
  { status, fromSchema, changes }: MigrateFlags,
): Promise<number> {
  const { DATABASE_URL = '', DATABASE_SCHEMA, CHANGES } = config
  if (!status) {
    await migrate(DATABASE_URL, { schema: DATABASE_SCHEMA, fromSchema })
    // Left as it is where nothing is said: this may run with other settings than the service.
    const isEnabled = CHANGES && changes !== false
    if (isEnabled || changes === false) await keepChanges(DATABASE_URL, { schema: DATABASE_SCHEMA, isEnabled })
  }
  const migrations = await findMigrationStatus(DATABASE_URL, DATABASE_SCHEMA)
  const isUpToDate = migrations.every(({ isApplied }) => isApplied)
  output.result({ isUpToDate, migrations }, [
    ...(status ? migrations.map(({ name, isApplied }) => `${isApplied ? 'applied' : 'PENDING'}  ${name}`) : []),
    isUpToDate ? 'The database is up to date.' : 'Run clerk-session-sync migrate.',
  ])
  return isUpToDate ? EXIT_DONE : EXIT_FAILED
}
