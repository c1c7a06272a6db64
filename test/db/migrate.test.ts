import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { drizzle } from 'drizzle-orm/node-postgres'
import { migrate as drizzleMigrate } from 'drizzle-orm/node-postgres/migrator'
import pg from 'pg'
import { type Test, test } from 'tap'
import { MIGRATION_LOCK, migrate } from '../../src/db/migrate.ts'
import { createDatabase, type TestDatabase } from '../helpers/database.ts'
import { session, startRepository, T0 } from '../helpers/repository.ts'
import { waitUntil } from '../helpers/wait-until.ts'

const FOLDER = join(import.meta.dirname, '../../migrations')
const BOOKKEEPING = 'clerk_session_sync_migrations'

interface Journal {
  entries: { tag: string }[]
}
const journal: Journal = JSON.parse(readFileSync(join(FOLDER, 'meta/_journal.json'), 'utf8'))

/** The tables with their columns and indexes, and what the bookkeeping says. */
async function shape({ query }: TestDatabase, schema = 'clerk') {
  const columns = await query(
    `select table_name, column_name, data_type, is_nullable, column_default from information_schema.columns
     where table_schema = $1 order by 1, 2`,
    [schema],
  )
  const indexes = await query('select indexname, indexdef from pg_indexes where schemaname = $1 order by 1', [schema])
  return { columns, indexes }
}

const applied = async ({ query }: TestDatabase, schema = 'clerk') =>
  (await query(`select id, created_at from ${schema}.${BOOKKEEPING} order by id`)).length

/** As an older release left it: without the newest migration. */
async function migrateButTheLast(t: Test, { url }: TestDatabase): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'migrations-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  cpSync(FOLDER, folder, { recursive: true })
  writeFileSync(
    join(folder, 'meta/_journal.json'),
    JSON.stringify({ ...journal, entries: journal.entries.slice(0, -1) }),
  )
  const client = new pg.Client({ connectionString: url, options: '-c search_path=clerk' })
  await client.connect()
  await drizzleMigrate(drizzle(client), {
    migrationsFolder: folder,
    migrationsSchema: 'clerk',
    migrationsTable: BOOKKEEPING,
  })
  await client.end()
}

test('three instances that start at once on an empty database all succeed', async (t) => {
  const database = await createDatabase(t, { isEmpty: true })
  await Promise.all([migrate(database.url), migrate(database.url), migrate(database.url)])
  t.equal(await applied(database), journal.entries.length)
  t.strictSame(
    await database.query("select table_name from information_schema.tables where table_schema = 'clerk' order by 1"),
    [
      'change_consumers',
      'change_deliveries',
      'changes',
      BOOKKEEPING,
      'living_memberships',
      'living_organizations',
      'living_users',
      'organization_invitations',
      'organization_memberships',
      'organization_roles',
      'organizations',
      'reconcile_seen',
      'sessions',
      'sync_state',
      'users',
      'webhook_events',
    ].map((table_name) => ({ table_name })),
  )
})

test('a second run changes nothing', async (t) => {
  const database = await createDatabase(t, { isEmpty: true })
  await migrate(database.url)
  const before = await shape(database)
  await migrate(database.url)
  t.strictSame(await shape(database), before)
  t.equal(await applied(database), journal.entries.length)
})

test('the rows of a database of the previous migration survive, and work', async (t) => {
  const database = await createDatabase(t, { isEmpty: true })
  await migrateButTheLast(t, database)
  t.equal(await applied(database), journal.entries.length - 1)
  await database.query(`insert into users (id, email, public_metadata, sync_source, clerk_updated_at)
    values ('user_1', 'ada@example.com', '{"n": 12345678901234567890}', 'webhook', now())`)
  await database.query(
    "insert into sessions (id, user_id, status, clerk_updated_at) values ('sess_1', 'user_1', 'ended', now())",
  )
  await database.query(
    "insert into webhook_events (id, type, outcome, payload) values ('msg_1', 'user.created', 'failed', '{}')",
  )
  const rows = async () =>
    Promise.all(
      ['users', 'sessions', 'webhook_events'].map((table) =>
        database.query(`select to_jsonb(t) as row from ${table} t`),
      ),
    )
  const before = await rows()

  await migrate(database.url)
  t.match(await rows(), before)
  t.equal(await applied(database), journal.entries.length)
  const fresh = await createDatabase(t, { isEmpty: true })
  await migrate(fresh.url)
  t.strictSame(await shape(database), await shape(fresh), 'the same shape as a new database')
  const { apply } = await startRepository(t, { database })
  t.strictSame(await apply({ session: session('sess_1', 'user_1', 'active', T0) }), ['stale'])
})

test('a migration that fails leaves nothing, and says why', async (t) => {
  const database = await createDatabase(t, { isEmpty: true })
  // The name of an index is already used, which does not show in the tables.
  await database.query(
    'create schema clerk; create table clerk.mine (a int); create index users_email_idx on clerk.mine (a)',
  )
  await t.rejects(migrate(database.url), { code: '42P07', message: 'relation "users_email_idx" already exists' })
  const [left] = await database.query(
    `select to_regclass('users') as users, to_regclass('sessions') as sessions, to_regclass('${BOOKKEEPING}') as bookkeeping`,
  )
  t.strictSame(left, { users: null, sessions: null, bookkeeping: null })
  await database.query('drop table clerk.mine')
  await migrate(database.url)
  t.equal(await applied(database), journal.entries.length, 'and may be repeated')
})

test('an instance waits for another that is migrating', async (t) => {
  const database = await createDatabase(t, { isEmpty: true })
  const other = new pg.Client({ connectionString: database.url })
  await other.connect()
  t.teardown(() => other.end())
  await other.query('select pg_advisory_lock($1)', [MIGRATION_LOCK])
  const migrated = migrate(database.url)
  const waits = async () =>
    (
      await database.query(
        "select 1 from pg_locks where locktype = 'advisory' and not granted and database = (select oid from pg_database where datname = current_database())",
      )
    ).length
  await waitUntil('the wait for the lock', async () => (await waits()) > 0)
  t.match(await database.query("select to_regclass('users') as users"), [{ users: null }])
  await other.query('select pg_advisory_unlock($1)', [MIGRATION_LOCK])
  await migrated
  t.equal(await applied(database), journal.entries.length)
})

test('an unreachable database is an error at once', async (t) => {
  await t.rejects(migrate('postgres://u:p@127.0.0.1:1/d'), { code: 'ECONNREFUSED' })
})

test('a connection that breaks in the middle rejects, and does not end the process', async (t) => {
  const database = await createDatabase(t, { isEmpty: true })
  const other = new pg.Client({ connectionString: database.url })
  await other.connect()
  t.teardown(() => other.end())
  await other.query('select pg_advisory_lock($1)', [MIGRATION_LOCK])
  const migrated = migrate(database.url)
  const terminate = () =>
    database.query(
      "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'clerk-session-sync migrate' and datname = current_database() and wait_event_type = 'Lock'",
    )
  const rejected = t.rejects(migrated, /terminat/)
  await waitUntil('the wait for the lock', async () => (await terminate()).length > 0)
  await rejected
})

test('the schema is created if it is missing, beside tables with the same names in another one', async (t) => {
  const database = await createDatabase(t, { isEmpty: true })
  await database.query("create table users (id int primary key, mine text); insert into users values (1, 'mine')")
  await Promise.all([migrate(database.url), migrate(database.url, { schema: 'clerk' })])
  await migrate(database.url)
  t.equal(await applied(database), journal.entries.length)
  t.strictSame(await database.query('select * from public.users'), [{ id: 1, mine: 'mine' }])
  const plain = await createDatabase(t, { isEmpty: true })
  await migrate(plain.url, { schema: 'other' })
  const unqualified = ({ columns, indexes }: Awaited<ReturnType<typeof shape>>) =>
    JSON.parse(JSON.stringify({ columns, indexes }).replaceAll(/(other|clerk)\./g, ''))
  t.strictSame(unqualified(await shape(database)), unqualified(await shape(plain, 'other')))
})

test('no migration names a schema', async (t) => {
  for (const { tag } of journal.entries) t.notMatch(readFileSync(join(FOLDER, `${tag}.sql`), 'utf8'), /public\W*\./)
})

test('only a plain name is accepted as schema, including reserved words', async (t) => {
  for (const schema of [
    '',
    'Clerk',
    '1x',
    'a-b',
    'a b',
    'a,public',
    '"a"',
    '$user',
    'a'.repeat(64),
    'a%20',
    'ü',
    'a\n',
  ]) {
    await t.rejects(migrate('postgres://h/d', { schema }), TypeError, JSON.stringify(schema))
    await t.rejects(migrate('postgres://h/d', { fromSchema: schema }), TypeError, JSON.stringify(schema))
  }
  const database = await createDatabase(t, { isEmpty: true })
  for (const schema of ['user', '_x1', 'a'.repeat(63)]) {
    await migrate(database.url, { schema })
    const { apply } = await startRepository(t, { database, schema })
    t.strictSame(await apply({ session: session('sess_1', 'user_1', 'active', T0) }), ['applied'])
  }
})

test('a start with another schema by mistake does not lock the installation out', async (t) => {
  const { url } = await createDatabase(t, { isEmpty: true })
  await migrate(url)
  await migrate(url, { schema: 'public' })
  await migrate(url)
})
