/** `migrate`: applies pending migrations, or shows which are applied. */
import { setChangeFeed } from '../db/changes/enable.ts'
import { adoptInstanceId } from '../db/instance.ts'
import { migrate } from '../db/migrate.ts'
import { findMigrationStatus } from '../db/migration-status.ts'
import { type Context, createApi, EXIT_DONE, EXIT_FAILED, withDatabase } from './context.ts'

export interface MigrateFlags {
  status?: boolean
  /** The schema from which the tables are moved. */
  fromSchema?: string
  adoptInstance?: boolean
  /** False turns the change feed off. */
  changes?: boolean
}

const FEED_ON = 'The change feed is on: its triggers were created.'
const FEED_OFF =
  'The change feed is off: its triggers were dropped. A service that starts with CHANGES=true turns it on again; changes until then are not recorded.'

export async function runMigrate(
  context: Context,
  { status, fromSchema, adoptInstance, changes }: MigrateFlags,
): Promise<number> {
  const { config, output } = context
  const { DATABASE_URL = '', DATABASE_SCHEMA, CHANGES } = config
  const done: string[] = []
  if (!status) {
    const { hasMoved, hadFeed } = await migrate(DATABASE_URL, { schema: DATABASE_SCHEMA, fromSchema })
    if (fromSchema !== undefined) {
      done.push(
        hasMoved
          ? `The tables were moved from "${fromSchema}" to "${DATABASE_SCHEMA}".`
          : `Nothing was moved: the tables are in "${DATABASE_SCHEMA}" already.`,
      )
    }
    // The feed stays as it is unless a setting or flag is explicit, because this may run with other settings than the service.
    const isEnabled = (CHANGES || hadFeed) && changes !== false
    if (isEnabled || changes === false) {
      const hasChanged = await setChangeFeed(DATABASE_URL, { schema: DATABASE_SCHEMA, isEnabled })
      if (hasChanged) done.push(isEnabled ? FEED_ON : FEED_OFF)
    }
    if (adoptInstance) done.push(await adopt(context))
  }
  const migrations = await findMigrationStatus(DATABASE_URL, DATABASE_SCHEMA)
  const isUpToDate = migrations.every(({ isApplied }) => isApplied)
  output.result({ isUpToDate, migrations }, [
    ...(status ? migrations.map(({ name, isApplied }) => `${isApplied ? 'applied' : 'PENDING'}  ${name}`) : []),
    ...done,
    isUpToDate ? 'The database is up to date.' : 'Run clerk-session-sync migrate.',
  ])
  return isUpToDate ? EXIT_DONE : EXIT_FAILED
}

/** Assigns the database to the secret key's Clerk instance, or to none without a key. Resolves to the line to print. */
async function adopt(context: Context): Promise<string> {
  const instance = context.config.CLERK_SECRET_KEY ? await createApi(context).findInstance() : undefined
  await withDatabase(context, ({ pool }) => adoptInstanceId(pool, instance?.id))
  return instance
    ? `The database now belongs to the Clerk instance ${instance.id}.`
    : 'The database no longer belongs to a Clerk instance: the next start with CLERK_SECRET_KEY assigns it.'
}
