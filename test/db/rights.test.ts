/** What the role of the service must be allowed to do, what it does without more, and what nobody else may do. */
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Test, test } from 'tap'
import { setChangeFeed } from '../../src/db/changes/enable.ts'
import { MIGRATIONS, MIGRATIONS_TABLE, migrate, SchemaError } from '../../src/db/migrate.ts'
import { createClerkEmulator } from '../../src/emulator/index.ts'
import { startCommandLine } from '../helpers/command-line.ts'
import { createDatabase, type TestDatabase } from '../helpers/database.ts'
import { message, session, snapshot, startRepository, T0 } from '../helpers/repository.ts'
import { startService } from '../helpers/service.ts'

const TABLES = ['users', 'sessions', 'webhook_events', 'sync_state', 'reconcile_seen']

/** A role that may log in and nothing else. Resolves to its name, and to the database's URL as that role. */
async function createRole(t: Test, database: TestDatabase) {
  const role = `role_${randomBytes(6).toString('hex')}`
  await database.query(`create role ${role} login password 'secret'`)
  t.teardown(async () => {
    // Others' databases know nothing of it: all that it owns or may do is here.
    await database.query(`drop owned by ${role} cascade`).catch(() => undefined)
    await database.query(`drop role if exists ${role}`).catch(() => undefined)
  })
  const url = new URL(database.url)
  url.username = role
  url.password = 'secret'
  return { role, url: url.href }
}

const messageOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => '',
    (error: unknown) => {
      if (error instanceof SchemaError) return error.message
      throw error
    },
  )

/** The SQL that the message gives, to the letter. */
const cureIn = (message: string) => /Let an administrator run: (.*)$/s.exec(message)?.[1] ?? ''

/** Raises at any DDL from now on. */
async function forbidDdl({ query }: TestDatabase): Promise<void> {
  await query(`create function clerk.no_ddl() returns event_trigger language plpgsql as
    $$ begin raise 'DDL: %', tg_tag; end $$`)
  await query('create event trigger no_ddl on ddl_command_start execute function clerk.no_ddl()')
}

test('when nothing is pending, a role that may only read and write rows serves, and runs no DDL', async (t) => {
  const database = await createDatabase(t)
  const { role, url } = await createRole(t, database)
  await database.query(`grant usage on schema clerk to ${role}`)
  await database.query(`grant select, insert, update, delete on all tables in schema clerk to ${role}`)
  await forbidDdl(database)
  await t.rejects(database.query('create table clerk.x ()'), /DDL: CREATE TABLE/, 'it is watched')
  await migrate(url)
  const clerk = await createClerkEmulator()
  const service = await startService(t, { beside: { clerk, database: { ...database, url } } })
  t.teardown(() => clerk.close())
  clerk.webhooks.url = `${service.url}/clerk`
  const ada = clerk.createUser({ firstName: 'Ada' })
  const token = clerk.sessionToken(clerk.signIn(ada.id).id)
  await clerk.webhooks.idle()
  t.match(await service.call('/api/auth/profile', { token }), { status: 200, body: { user: { firstName: 'Ada' } } })
  t.match(await service.call('/api/auth/sync-user', { method: 'POST', token }), { status: 200 })
  t.match(await service.call('/readyz'), { status: 200 })
  const cli = await startCommandLine(
    t,
    {},
    { DATABASE_URL: url, CLERK_API_URL: clerk.apiUrl, CLERK_SECRET_KEY: clerk.secretKey, CLERK_ISSUER: clerk.issuer },
  )
  for (const command of [['migrate'], ['backfill'], ['reconcile', '--fix'], ['prune', '--days', '1'], ['replay']]) {
    const { code, output } = await cli.run(...command)
    t.equal(code, 0, `${command}: ${output}`)
  }
})

test('each missing right is one message with the SQL, and exactly that SQL fixes it', async (t) => {
  const database = await createDatabase(t)
  const { role, url } = await createRole(t, database)
  const work = async () => {
    await migrate(url)
    const { apply, repository } = await startRepository(t, { database: { ...database, url } })
    const change = { user: snapshot('user_1', T0), session: session('sess_1', 'user_1', 'active', T0) }
    t.match(await apply({ message: message('msg_1'), ...change }), [/applied|duplicate/])
    t.equal((await repository.findAuthState({ userId: 'user_1', sessionId: null })).user?.id, 'user_1')
  }
  const nothing = await messageOf(migrate(url))
  t.match(nothing, `grant usage on schema "clerk" to ${role}`)
  await database.query(cureIn(nothing))
  await work()

  for (const right of ['select', 'insert', 'update', 'delete']) {
    for (const table of TABLES) {
      await database.query(`revoke ${right} on clerk.${table} from ${role}`)
      const message = await messageOf(migrate(url))
      t.match(cureIn(message), new RegExp(`^grant [a-z, ]*${right}[a-z, ]* on "clerk"."${table}" to ${role}$`))
      await database.query(cureIn(message))
      t.equal(await messageOf(migrate(url)), '')
    }
  }
  for (const revoke of [`usage on schema clerk`, `select on clerk.${MIGRATIONS_TABLE}`]) {
    await database.query(`revoke ${revoke} from ${role}`)
    const message = await messageOf(migrate(url))
    t.match(message, /lacks rights\. Let an administrator run: grant/)
    await database.query(cureIn(message))
    await work()
  }
})

test('a role that may not create the schema or tables in it gets the SQL that allows it', async (t) => {
  const database = await createDatabase(t, { isEmpty: true })
  const { role, url } = await createRole(t, database)
  const missing = await messageOf(migrate(url))
  t.equal(cureIn(missing), `create schema "clerk"; grant usage, create on schema "clerk" to ${role}`)
  await database.query(cureIn(missing))
  await migrate(url)
  t.equal(await messageOf(migrate(url)), '')

  const other = await createDatabase(t, { isEmpty: true })
  const stranger = await createRole(t, other)
  await other.query('create schema clerk')
  const denied = await messageOf(migrate(stranger.url))
  t.equal(cureIn(denied), `grant usage, create on schema "clerk" to ${stranger.role}`)
  await other.query(cureIn(denied))
  await migrate(stranger.url)
})

test('a role that may not change the tables of an older release gets the SQL that allows it', async (t) => {
  const database = await createDatabase(t)
  await database.query('drop index clerk.users_created_idx')
  await database.query(
    `delete from clerk.${MIGRATIONS_TABLE} where id in (select id from clerk.${MIGRATIONS_TABLE} order by id desc limit 2)`,
  )
  const { role, url } = await createRole(t, database)
  await database.query(`grant usage on schema clerk to ${role}`)
  await database.query(`grant select, insert, update, delete on all tables in schema clerk to ${role}`)
  const message = await messageOf(migrate(url))
  t.match(message, /lacks rights to create or change the tables/)
  t.match(cureIn(message), `alter table "clerk"."users" owner to ${role}`)
  t.match(cureIn(message), `alter table "clerk"."living_memberships" owner to ${role}`)
  t.match(cureIn(message), `alter function clerk.is_member(text,text) owner to ${role}`)
  await database.query(cureIn(message))
  await migrate(url)
})

test("an application's own tables are reported with the remedy, and stay unchanged", async (t) => {
  for (const table of ['users', 'webhook_events']) {
    const database = await createDatabase(t, { isEmpty: true })
    await database.query(`create table public.${table} (mine text); insert into public.${table} values ('mine')`)
    const message = await messageOf(migrate(database.url, { schema: 'public' }))
    t.match(message, `the schema "public" already has tables that do not belong to clerk-session-sync: ${table}.`)
    t.match(
      message,
      'Set DATABASE_SCHEMA (the option schema of migrate and clerkDatabase) to a schema of its own (the default is "clerk")',
    )
    await migrate(database.url, { schema: 'clerk' })
    t.strictSame(await database.query(`select * from public.${table}`), [{ mine: 'mine' }])
    t.strictSame(await database.query("select tablename from pg_tables where schemaname = 'public'"), [
      { tablename: table },
    ])
  }
})

/** What release 1 left: its three migrations in `public`, with rows. */
async function fillVersion1(database: TestDatabase): Promise<void> {
  const { entries } = JSON.parse(readFileSync(join(MIGRATIONS, 'meta/_journal.json'), 'utf8'))
  await database.query(
    `create table public.${MIGRATIONS_TABLE} (id serial primary key, hash text not null, created_at bigint)`,
  )
  const client = await database.connect()
  await client.query('set search_path = public')
  for (const { tag, when } of entries.slice(0, 3)) {
    for (const sql of readFileSync(join(MIGRATIONS, `${tag}.sql`), 'utf8').split('--> statement-breakpoint')) {
      await client.query(sql)
    }
    await client.query(`insert into ${MIGRATIONS_TABLE} (hash, created_at) values ($1, $2)`, [tag, when])
  }
  client.release(true)
  await database.query(`insert into public.users (id, email, public_metadata, sync_source, clerk_updated_at)
    select 'user_' || n, 'u' || n || '@example.com', '{"n": 12345678901234567890}', 'webhook', now() from generate_series(1, 30) n`)
  await database.query(`insert into public.sessions (id, user_id, status, clerk_updated_at)
    select 'sess_' || n, 'user_' || n, 'active', now() from generate_series(1, 30) n`)
  await database.query(`insert into public.webhook_events (id, type, outcome, payload)
    select 'msg_' || n, 'user.created', case n when 7 then 'failed' else 'applied' end, '{}' from generate_series(1, 30) n`)
  await database.query(`insert into public.sync_state (job, state) values ('backfill', '{"offset": 500}')`)
  await database.query('create table public.orders (user_id text references public.users (id))')
  await database.query(`insert into public.orders values ('user_1')`)
}

interface Content {
  rows: Record<string, unknown>[][]
  indexes: Record<string, unknown>[]
}

/** Rows and indexes, without the schema; of newer tables, columns and indexes only those that were there before. */
async function contentOf(database: TestDatabase, schema: string, before?: Content): Promise<Content> {
  const rows: Content['rows'] = []
  for (const [i, table] of ['users', 'sessions', 'webhook_events', 'sync_state'].entries()) {
    const found = await database.query(`select to_jsonb(t) as row from ${schema}.${table} t order by t::text`)
    const known = before && Object.keys(before.rows[i]?.[0] ?? {})
    const isKnown = ([name]: [string, unknown]) => known?.includes(name) ?? true
    rows.push(found.map(({ row }) => Object.fromEntries(Object.entries(row).filter(isKnown))))
  }
  const indexes = await database.query(
    `select indexname, replace(indexdef, schemaname || '.', '') as definition from pg_indexes
    where schemaname = $1 order by 1`,
    [schema],
  )
  const names = before?.indexes.map(({ indexname }) => indexname)
  return { rows, indexes: indexes.filter(({ indexname }) => names?.includes(indexname) ?? true) }
}

test("version 1 beside an application's own table or function of a name that it needs: a remedy, and it works", async (t) => {
  for (const own of ['table public.organizations (mine text)', 'function public.jwt_user_id() returns int return 1']) {
    const database = await createDatabase(t, { isEmpty: true })
    await fillVersion1(database)
    await database.query(`create ${own}`)
    const [, name] = /public\.(\w+)/.exec(own) as RegExpExecArray
    const message = await messageOf(migrate(database.url, { schema: 'public' }))
    t.match(message, new RegExp(`of another application with names that this version needs: ${name}`))
    t.match(message, 'DATABASE_SCHEMA=clerk clerk-session-sync migrate --from-schema public')
    await migrate(database.url, { fromSchema: 'public' })
    t.equal((await database.query('select 1 from clerk.users')).length, 30)
    const left =
      await database.query(`select relname as name from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r'
      union select proname from pg_proc where pronamespace = 'public'::regnamespace order by 1`)
    t.strictSame(
      left.map((row) => row.name),
      ['orders', name].sort(),
      'nothing of theirs was moved',
    )
  }
})

test('the change feed moves with the tables', async (t) => {
  const database = await createDatabase(t, { isEmpty: true })
  await migrate(database.url, { schema: 'public' })
  await setChangeFeed(database.url, { schema: 'public', isEnabled: true })
  const { run } = await startCommandLine(t, {}, { DATABASE_URL: database.url })
  t.match(await run('migrate', '--from-schema', 'public'), {
    code: 0,
    output: /The tables were moved from "public" to "clerk"\.\nThe change feed is on: its triggers were created\./,
  })
  t.match(
    (await run('migrate', '--from-schema', 'public')).output,
    'Nothing was moved: the tables are in "clerk" already.',
  )
  await database.query("insert into clerk.users (id, sync_source) values ('user_1', 'webhook')")
  t.match(await database.query('select entity_id from clerk.changes'), [{ entity_id: 'user_1' }])
  t.strictSame(await database.query("select proname from pg_proc where pronamespace = 'public'::regnamespace"), [])
})

test('tables of version 1 in `public` are reported with two remedies, and both work', async (t) => {
  const database = await createDatabase(t, { isEmpty: true })
  await fillVersion1(database)
  const before = await contentOf(database, 'public')
  const message = await messageOf(migrate(database.url))
  t.match(message, 'clerk-session-sync migrate --from-schema public')
  t.match(message, 'DATABASE_SCHEMA=public')
  t.strictSame(await contentOf(database, 'public', before), before, 'nothing was done')
  t.strictSame(await database.query("select 1 from pg_namespace where nspname = 'clerk'"), [])

  /** A service on this schema: it reads what is there, and writes. */
  const serve = async (schema: string) => {
    const service = await startService(t, {
      settings: { DATABASE_SCHEMA: schema, DATABASE_URL: database.url },
    })
    const { id } = service.clerk.createUser({ firstName: 'Ada' })
    const token = service.clerk.sessionToken(service.clerk.signIn(id).id)
    await service.clerk.webhooks.idle()
    t.match(await service.call('/api/auth/profile', { token }), { status: 200 })
    t.equal((await database.query(`select 1 from ${schema}.users where id = $1`, [id])).length, 1)
    await service.app.close()
  }
  await migrate(database.url, { schema: 'public' })
  t.strictSame(await contentOf(database, 'public', before), before, 'the first cure: they stay')
  await serve('public')

  const filled = await contentOf(database, 'public')
  const { run } = await startCommandLine(t, {}, { DATABASE_URL: database.url })
  for (const times of ['once', 'twice']) {
    const { code, output } = await run('migrate', '--from-schema', 'public')
    t.equal(code, 0, `${times}: ${output}`)
    t.strictSame(await contentOf(database, 'clerk'), filled)
  }
  t.strictSame(await database.query("select tablename from pg_tables where schemaname = 'public'"), [
    { tablename: 'orders' },
  ])
  t.strictSame(
    await database.query("select sequencename, schemaname from pg_sequences where sequencename like 'clerk%'"),
    [{ sequencename: `${MIGRATIONS_TABLE}_id_seq`, schemaname: 'clerk' }],
  )
  await t.rejects(database.query(`insert into orders values ('user_nobody')`), { code: '23503' }, 'keys still hold')
  await serve('clerk')
})

test('a failed move moves nothing; an impossible one is refused with the reason', async (t) => {
  const database = await createDatabase(t, { isEmpty: true })
  await fillVersion1(database)
  await database.query('create schema clerk; create table clerk.sync_state (mine text)')
  const before = await contentOf(database, 'public')
  await t.rejects(migrate(database.url, { fromSchema: 'public' }), /sync_state/)
  t.strictSame(await contentOf(database, 'public'), before)
  await database.query('drop table clerk.sync_state')
  const { role, url } = await createRole(t, database)
  const denied = await messageOf(migrate(url, { fromSchema: 'public' }))
  t.match(cureIn(denied), `alter table "public"."users" owner to ${role}`)
  t.strictSame(await contentOf(database, 'public'), before)

  t.match(await messageOf(migrate(database.url, { fromSchema: 'clerk' })), /to itself/)
  t.match(await messageOf(migrate(database.url, { fromSchema: 'nowhere' })), /"nowhere" has no tables/)
  await migrate(database.url, { schema: 'other' })
  t.match(await messageOf(migrate(database.url, { schema: 'other', fromSchema: 'public' })), /nothing is moved/)
})

test('anon, authenticated and PUBLIC have no rights, whatever the default privileges are', async (t) => {
  for (const isMoved of [false, true]) {
    const database = await createDatabase(t, { isEmpty: true })
    for (const role of ['anon', 'authenticated']) {
      // Roles are of the whole server, and other runs may have made them.
      await database.query(
        `do $$ begin create role ${role} nologin; exception when duplicate_object or unique_violation then null; end $$`,
      )
    }
    for (const kind of ['tables', 'sequences', 'functions']) {
      await database.query(`alter default privileges grant all on ${kind} to anon, authenticated, public`)
    }
    await database.query('alter default privileges grant usage on schemas to anon, authenticated')
    if (isMoved) await fillVersion1(database)
    await migrate(database.url, isMoved ? { fromSchema: 'public' } : {})
    const granted = await database.query(
      `select c.relname, a.grantee::regrole::text as grantee, a.privilege_type
      from pg_class c cross join aclexplode(c.relacl) a
      where c.relnamespace = 'clerk'::regnamespace and a.grantee <> c.relowner`,
    )
    t.strictSame(granted, [])
    t.strictSame(
      await database.query(
        `select a.grantee::regrole::text as grantee from pg_namespace n cross join aclexplode(n.nspacl) a
        where nspname = 'clerk' and a.grantee <> n.nspowner`,
      ),
      [],
    )
    for (const role of ['anon', 'authenticated']) {
      await t.rejects(database.query(`do $$ begin set local role ${role}; perform * from clerk.users; end $$`), {
        code: '42501',
      })
      await t.rejects(
        database.query(
          `do $$ begin set local role ${role}; perform nextval('clerk.${MIGRATIONS_TABLE}_id_seq'); end $$`,
        ),
        {
          code: '42501',
        },
      )
    }
  }
})
