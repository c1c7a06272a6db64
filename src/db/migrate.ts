/**
 * Migrations made by drizzle-kit, applied in one transaction under an advisory lock so that replicas may start together.
 * drizzle's own migrator takes no lock, and always runs `create schema`, which needs a right even if the schema exists.
 */
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { readMigrationFiles } from './drizzle.ts'
import { markTrouble } from './errors.ts'
import { assertConnectionString } from './pool.ts'
import { findMissingRights, REVOKE } from './rights.ts'
import { DEFAULT_SCHEMA, plain } from './schema-name.ts'

// An arbitrary number that all replicas share ("clerk" in ASCII).
export const MIGRATION_LOCK = 0x636c65726b
const LOCK_TIMEOUT_MS = 60_000

// A distinct name, because an application's own migrations may be in the same schema.
export const MIGRATIONS_TABLE = 'clerk_session_sync_migrations'
export const MIGRATIONS = fileURLToPath(new URL('../../migrations', import.meta.url))

/** The tables cannot be created or used; the message names the reason and the remedy. */
export class SchemaError extends Error {
  override name = 'SchemaError'
}

export interface MigrateOptions {
  /** The schema of the tables, created if it does not exist; `clerk` by default. */
  schema?: string
  /** A schema from which the tables and their data are moved first. */
  fromSchema?: string
}

export interface MigrateResult {
  /** Whether tables were moved from `fromSchema`. */
  hasMoved: boolean
  /** Whether the change feed was on there. Its triggers were dropped: `setChangeFeed` creates them again. */
  hadFeed: boolean
}

/**
 * Applies all pending migrations. Repeating it changes nothing, and then needs no more rights than serving does. Replicas that
 * start at the same time wait for the first (at most 60 s). Rejects with `SchemaError` if the schema holds other tables or a
 * right is missing, otherwise with PostgreSQL's error; a failed migration is rolled back.
 */
export async function migrate(connectionString: string, options: MigrateOptions = {}): Promise<MigrateResult> {
  if (typeof options !== 'object') throw new TypeError('expected migrate(connectionString, { schema })')
  const schema = plain(options.schema ?? DEFAULT_SCHEMA)
  const fromSchema = options.fromSchema === undefined ? undefined : plain(options.fromSchema)
  return await withClient(connectionString, async (client) => {
    await client.query(
      `begin; set local lock_timeout = ${LOCK_TIMEOUT_MS}; set local idle_in_transaction_session_timeout = 5000`,
    )
    await client.query('select pg_advisory_xact_lock($1)', [MIGRATION_LOCK])
    const moved = fromSchema === undefined ? NOT_MOVED : await moveTables(client, fromSchema, schema)
    const pending = await findPending(client, schema)
    if (pending.length > 0) {
      await assertRights(client, schema, true)
      await applyMigrations(client, schema, pending)
    }
    await assertRights(client, schema, false)
    await client.query('commit')
    return moved
  })
}

const NOT_MOVED: MigrateResult = { hasMoved: false, hadFeed: false }

async function assertRights(client: pg.Client, schema: string, isMigrating: boolean): Promise<void> {
  const sql = isMigrating
    ? await findMissingRights(client, schema, {
        tables: [...TABLES, ...VIEWS, MIGRATIONS_TABLE],
        functions: FUNCTIONS,
        isMigrating,
      })
    : await findMissingRights(client, schema, { tables: TABLES, readOnly: [MIGRATIONS_TABLE], isMigrating })
  if (sql.length === 0) return
  throw new SchemaError(
    `the role of DATABASE_URL lacks rights${isMigrating ? ' to create or change the tables' : ''}. Let an administrator run: ${sql.join('; ')}`,
  )
}

/** Runs `work` on a separate connection, and always closes it. */
export async function withClient<T>(connectionString: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  assertConnectionString(connectionString)
  const client = new pg.Client({
    connectionString,
    application_name: 'clerk-session-sync migrate',
    connectionTimeoutMillis: 5_000,
    query_timeout: LOCK_TIMEOUT_MS + 60_000,
  })
  client.on('error', () => undefined) // The running query rejects as well.
  try {
    await client.connect()
    return await work(client)
  } catch (error) {
    if (error instanceof SchemaError) throw error
    return markTrouble(error)
  } finally {
    await client.end().catch(() => undefined)
  }
}

type MigrationFile = ReturnType<typeof readMigrationFiles>[number]

/** The migrations that have not been applied to the schema. */
async function findPending(client: pg.Client, schema: string): Promise<MigrationFile[]> {
  const files = readMigrationFiles({ migrationsFolder: MIGRATIONS })
  if (!(await isOurs(client, schema))) {
    await assertFree(client, schema, createdBy(files))
    return files
  }
  await assertRights(client, schema, false)
  const newest = await findNewest(client, schema)
  const pending = files.filter(({ folderMillis }) => folderMillis > newest)
  await assertFree(client, schema, createdBy(pending))
  return pending
}

/** When the newest applied migration was made, in ms since 1970. */
async function findNewest(client: pg.Client, schema: string): Promise<number> {
  const { rows } = await client.query(
    `select coalesce(max(created_at), 0)::float8 as newest from "${schema}"."${MIGRATIONS_TABLE}"`,
  )
  return rows[0].newest
}

/** The names of the tables, views and functions that these migrations create. */
function createdBy(files: readonly MigrationFile[]): string[] {
  const text = files.flatMap(({ sql }) => sql).join('\n')
  return [...text.matchAll(/^CREATE (?:TABLE|VIEW|FUNCTION) "?(\w+)/gm)].map(([, name]) => name as string)
}

async function isOurs(client: pg.Client, schema: string): Promise<boolean> {
  // Not `to_regclass`, which fails without the right to use the schema.
  const { rows } = await client.query(
    'select 1 from pg_class c join pg_namespace n on n.oid = relnamespace where nspname = $1 and relname = $2',
    [schema, MIGRATIONS_TABLE],
  )
  return rows.length > 0
}

// The service's tables are recognised by its migrations table in the same schema. Other tables are never touched.
async function assertFree(client: pg.Client, schema: string, names: readonly string[]): Promise<void> {
  const { rows: taken } = await client.query(
    `select relname from pg_class where relnamespace = to_regnamespace($1) and relkind in ('r', 'p', 'v', 'm', 'f')
      and relname = any($2)
    union select proname || '()' from pg_proc where pronamespace = to_regnamespace($1) and proname = any($2) order by 1`,
    [`"${schema}"`, names],
  )
  if (taken.length > 0) {
    const found = taken.map(({ relname }) => relname).join(', ')
    throw new SchemaError(
      (await isOurs(client, schema))
        ? `the schema "${schema}" has tables or functions of another application with names that this version needs: ${found}. Move the tables of clerk-session-sync to a schema of their own: DATABASE_SCHEMA=${DEFAULT_SCHEMA} clerk-session-sync migrate --from-schema ${schema}`
        : `the schema "${schema}" already has tables that do not belong to clerk-session-sync: ${found}. Set DATABASE_SCHEMA (the option schema of migrate and clerkDatabase) to a schema of its own (the default is "${DEFAULT_SCHEMA}"), which is created when it is missing`,
    )
  }
  const isMissing = schema === DEFAULT_SCHEMA && !(await isOurs(client, schema))
  if (isMissing && (await isOurs(client, 'public'))) {
    throw new SchemaError(
      `the tables of clerk-session-sync are in the schema "public", where versions before DATABASE_SCHEMA put them, but DATABASE_SCHEMA is "${schema}". Run \`clerk-session-sync migrate --from-schema public\` to move them, or set DATABASE_SCHEMA=public to leave them there`,
    )
  }
}

const TABLES = [
  'users',
  'sessions',
  'organizations',
  'organization_memberships',
  'organization_roles',
  'organization_invitations',
  'webhook_events',
  'sync_state',
  'reconcile_seen',
  'changes',
  'change_consumers',
  'change_deliveries',
]
const VIEWS = ['living_users', 'living_organizations', 'living_memberships']
const FUNCTIONS = [
  'jwt_claims()',
  'jwt_user_id()',
  'jwt_organization_id()',
  'jwt_role()',
  'jwt_has_permission(text)',
  'is_member(text, text)',
  'has_permission(text, text, text)',
]

async function applyMigrations(client: pg.Client, schema: string, pending: MigrationFile[]): Promise<void> {
  const isNew = await createSchema(client, schema)
  // Only for this transaction: the migration files name no schema, so that they run in the configured one.
  await client.query(`set local search_path = "${schema}"`)
  await client.query(
    `create table if not exists "${schema}"."${MIGRATIONS_TABLE}" (id serial primary key, hash text not null, created_at bigint)`,
  )
  for (const { sql, hash, folderMillis } of pending) {
    for (const text of sql) if (text.trim() !== '') await client.query(text)
    await client.query(`insert into "${schema}"."${MIGRATIONS_TABLE}" (hash, created_at) values ($1, $2)`, [
      hash,
      folderMillis,
    ])
  }
  await client.query(revokeSql(schema, isNew))
}

/** The SQL that takes every right on the tables, views and functions from public roles. */
export const revokeSql = (schema: string, isNewSchema: boolean) =>
  REVOKE(schema, [...TABLES, ...VIEWS, MIGRATIONS_TABLE], FUNCTIONS, isNewSchema)

/** Moves what the applied migrations created, and nothing else. Does nothing if that was moved before. */
async function moveTables(client: pg.Client, from: string, to: string): Promise<MigrateResult> {
  if (from === to)
    throw new SchemaError(
      `the tables are moved from "${from}" to itself: set DATABASE_SCHEMA to the schema to which they should move`,
    )
  if (!(await isOurs(client, from))) {
    if (await isOurs(client, to)) return NOT_MOVED
    throw new SchemaError(`the schema "${from}" has no tables of clerk-session-sync (no ${MIGRATIONS_TABLE})`)
  }
  if (await isOurs(client, to)) {
    throw new SchemaError(`the schemas "${from}" and "${to}" both have tables of clerk-session-sync: nothing is moved`)
  }
  await assertRights(client, from, true)
  const isNew = await createSchema(client, to)
  await assertRights(client, to, true)
  const newest = await findNewest(client, from)
  const files = readMigrationFiles({ migrationsFolder: MIGRATIONS })
  const ours = new Set(createdBy(files.filter(({ folderMillis }) => folderMillis <= newest)))
  const hadFeed = await dropFeed(client, from)
  for (const table of [...[...TABLES, ...VIEWS].filter((name) => ours.has(name)), MIGRATIONS_TABLE]) {
    await client.query(`alter table "${from}"."${table}" set schema "${to}"`)
  }
  for (const signature of FUNCTIONS.filter((name) => ours.has(name.replace(/\(.*/, '')))) {
    await client.query(`alter function "${from}".${signature} set schema "${to}"`)
  }
  if (isNew) await client.query(REVOKE(to, [], [], true))
  return { hasMoved: true, hadFeed }
}

/** Drops the triggers of the change feed, whose functions name the schema. Resolves to whether there were any. */
async function dropFeed(client: pg.Client, schema: string): Promise<boolean> {
  const { rows } = await client.query(
    'select p.oid::regprocedure as signature from pg_proc p where pronamespace = to_regnamespace($1) and proname = any($2)',
    [`"${schema}"`, TABLES.map((table) => `changes_of_${table}`)],
  )
  for (const { signature } of rows) await client.query(`drop function ${signature} cascade`)
  return rows.length > 0
}

/** Creates the schema if it does not exist. Resolves to whether it did. */
async function createSchema(client: pg.Client, schema: string): Promise<boolean> {
  const { rows } = await client.query('select 1 from pg_namespace where nspname = $1', [schema])
  if (rows.length > 0) return false
  await assertRights(client, schema, true)
  await client.query(`create schema "${schema}"`)
  return true
}
