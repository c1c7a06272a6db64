/** `migrate`: brings the database up to date, or says how far it is. */
import { migrate } from '../db/migrate.ts'
import { findMigrationStatus } from '../db/migration-status.ts'
import { type Context, EXIT_DONE, EXIT_FAILED } from './context.ts'

export interface MigrateFlags {
  status?: boolean
  /** The schema from which the tables are moved. */
  fromSchema?: string
}

export async function runMigrate({ config, output }: Context, { status, fromSchema }: MigrateFlags): Promise<number> {
  const { DATABASE_URL = '', DATABASE_SCHEMA } = config
  if (!status) await migrate(DATABASE_URL, { schema: DATABASE_SCHEMA, fromSchema })
  const migrations = await findMigrationStatus(DATABASE_URL, DATABASE_SCHEMA)
  const isUpToDate = migrations.every(({ isApplied }) => isApplied)
  output.result({ isUpToDate, migrations }, [
    ...(status ? migrations.map(({ name, isApplied }) => `${isApplied ? 'applied' : 'PENDING'}  ${name}`) : []),
    isUpToDate ? 'The database is up to date.' : 'Run clerk-session-sync migrate.',
  ])
  return isUpToDate ? EXIT_DONE : EXIT_FAILED
}
