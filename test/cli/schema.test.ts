/** The tables as other tools take them. */
import { spawnSync } from 'node:child_process'
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import prisma from '@prisma/prisma-schema-wasm'
import { drizzle } from 'drizzle-orm/node-postgres'
import { Kysely, PostgresDialect } from 'kysely'
import pg from 'pg'
import { test } from 'tap'
import { main } from '../../src/cli/index.ts'
import { migrate } from '../../src/db/migrate.ts'
import {
  livingMemberships,
  livingOrganizations,
  livingUsers,
  organizationMemberships,
  tablesIn,
} from '../../src/schema.ts'
import { createDatabase, type TestDatabase } from '../helpers/database.ts'
import { changeOf, joined } from '../helpers/organization-events.ts'
import { startRepository, T0 } from '../helpers/repository.ts'

const ROOT = join(import.meta.dirname, '../..')

async function run(args: string[], env: Record<string, string> = {}) {
  const written = { stdout: '', stderr: '' }
  const to = (stream: 'stdout' | 'stderr') => ({
    write(text: unknown) {
      written[stream] += String(text)
      return true
    },
  })
  const { code } = await main(['schema', ...args], {
    env: { NODE_ENV: 'test', ...env },
    stdin: async function* () {},
    stdout: to('stdout'),
    stderr: to('stderr'),
    watchSignals: () => new AbortController().signal,
  })
  return { code, ...written }
}

test('one format is chosen', async (t) => {
  t.match(await run([]), { code: 2, stderr: /--prisma, --kysely and --sql/ })
  t.match(await run(['--prisma', '--sql']), { code: 2, stdout: '' })
  t.match(JSON.parse((await run(['--kysely', '--json'])).stdout), { format: 'kysely', text: /interface User/ })
})

test('Prisma and Kysely get every table and column, in the schema that is set', async (t) => {
  const env = { DATABASE_SCHEMA: 'auth' }
  const prisma = (await run(['--prisma'], env)).stdout
  t.match(
    prisma,
    /model OrganizationMembership \{\n {2}id String @id\n {2}organizationId String\? @map\("organization_id"\)/,
  )
  t.match(prisma, /permissions String\[\]\n/)
  t.match(prisma, /@@index\(\[userId, organizationId\], map: "organization_memberships_user_idx"\)/)
  t.match(prisma, /@@index\(\[email\], map: "users_email_idx", type: Hash\)/)
  t.match(prisma, /endedAt DateTime\? @map\("ended_at"\) @db\.Timestamptz\(3\)/)
  const kysely = (await run(['--kysely'], env)).stdout
  t.match(kysely, /export interface Organization \{\n {2}id: string\n {2}name: string \| null/)
  t.match(kysely, /public_metadata: Generated<JSONColumnType<Record<string, unknown>>>/)
  t.match(kysely, /'auth\.organization_roles': OrganizationRole\n/)
  t.notMatch(`${prisma}${kysely}`, /unknown\n|undefined/)
  const tables = Object.keys(tablesIn()).length
  t.equal(prisma.match(/@@schema\("auth"\)/g)?.length, tables)
  t.equal(kysely.match(/'auth\./g)?.length, tables)
})

test("Prisma's own parser accepts the models, beside those of the application", async (t) => {
  const { stdout } = await run(['--prisma'], { DATABASE_SCHEMA: 'auth' })
  const source = `datasource db {\n  provider = "postgresql"\n  schemas = ["auth", "public"]\n}\n\n${stdout}
    model Document {\n  id String @id\n  @@schema("public")\n}`
  const input = JSON.stringify({ prismaSchema: [['schema.prisma', source]], noColor: true })
  t.doesNotThrow(() => prisma.validate(input))
  const { datamodel } = JSON.parse(prisma.get_dmmf(input))
  const user = datamodel.models.find(({ name }: { name: string }) => name === 'User')
  t.match(user, { dbName: 'users', fields: [{ name: 'id', isId: true, type: 'String' }] })
  const wrong = input.replace('DateTime?', 'DateTim?')
  t.throws(() => prisma.validate(wrong), 'and would refuse a wrong one')
})

test("Kysely's types compile in a strict project, and its queries find the rows", async (t) => {
  const directory = t.testdir({
    'package.json': '{"type": "module"}',
    'tables.ts': (await run(['--kysely'], { DATABASE_SCHEMA: 'auth' })).stdout,
    'use.ts': `
      import { Kysely } from 'kysely'
      import type { ClerkSessionSync } from './tables.ts'
      declare const db: Kysely<ClerkSessionSync>
      const rows = await db.selectFrom('auth.users').selectAll().where('deleted_at', 'is', null).execute()
      export const facts: { name: string | null; at: Date | null; metadata: Record<string, unknown> }[] =
        rows.map((row) => ({ name: row.first_name, at: row.last_sign_in_at, metadata: row.public_metadata }))
      // @ts-expect-error a column that does not exist
      db.selectFrom('auth.users').select('surname')`,
  })
  mkdirSync(join(directory, 'node_modules'))
  symlinkSync(join(ROOT, 'node_modules/kysely'), join(directory, 'node_modules/kysely'))
  const options = {
    ...{ strict: true, noEmit: true, skipLibCheck: true, allowImportingTsExtensions: true, types: [] },
    ...{ target: 'es2022', module: 'nodenext', moduleResolution: 'nodenext' },
  }
  writeFileSync(join(directory, 'tsconfig.json'), JSON.stringify({ compilerOptions: options }))
  const compiler = join(ROOT, 'node_modules/typescript/lib/tsc.js')
  const { status, stdout } = spawnSync(process.execPath, [compiler, '-p', '.'], { cwd: directory, encoding: 'utf8' })
  t.equal(status, 0, stdout)

  const { database, apply } = await startRepository(t)
  await apply(changeOf(joined('orgmem_1', 'org_1', 'user_1', T0)))
  const db = new Kysely<Record<string, { id: string; permissions: string[] }>>({
    dialect: new PostgresDialect({ pool: new pg.Pool({ connectionString: database.url }) }),
  })
  t.teardown(() => db.destroy())
  const memberships = db.selectFrom('clerk.organization_memberships').select(['id', 'permissions'])
  t.strictSame(await memberships.execute(), [{ id: 'orgmem_1', permissions: ['org:posts:read'] }])
})

/** Columns, indexes, views and functions of the schema. */
const describe = ({ query }: TestDatabase) =>
  query(`select table_name as "of", column_name as name, data_type as text, is_nullable, column_default
      from information_schema.columns where table_schema = 'auth'
    union all select tablename, indexname, indexdef, null, null from pg_indexes where schemaname = 'auth'
    union all select viewname, '', definition, null, null from pg_views where schemaname = 'auth'
    union all select proname, '', pg_get_functiondef(oid), proacl::text, null from pg_proc where pronamespace = 'auth'::regnamespace
    union all select relname, 'privileges', relacl::text, null, null from pg_class
      where relnamespace = 'auth'::regnamespace and relkind in ('r', 'v', 'S')
    order by 1, 2, 3`)

test('the SQL for administrators creates the same tables as migrate', async (t) => {
  const createWithRoles = async () => {
    const created = await createDatabase(t, { isEmpty: true })
    // As Supabase has them.
    await created.query('do $$ begin create role anon nologin; exception when others then null; end $$')
    for (const kind of ['tables', 'sequences', 'functions']) {
      await created.query(`alter default privileges grant all on ${kind} to anon`)
    }
    return created
  }
  const database = await createWithRoles()
  await database.query((await run(['--sql'], { DATABASE_SCHEMA: 'auth' })).stdout)
  const migrated = await createWithRoles()
  await migrate(migrated.url, { schema: 'auth' })
  const [byHand, byMigrate] = [await describe(database), await describe(migrated)]
  t.ok(byHand.length > 100, 'columns and indexes are found')
  t.strictSame(byHand, byMigrate)
  t.strictSame(await database.query("select has_table_privilege('anon', 'auth.users', 'select') as reads"), [
    { reads: false },
  ])
  await migrate(database.url, { schema: 'auth' })
  t.strictSame(await describe(database), byMigrate, 'there is nothing left to migrate')
  t.strictSame(await database.query("select auth.is_member('org_1', 'user_1') as yes"), [{ yes: false }])
})

test('Drizzle reads tables and views', async (t) => {
  const { database, apply } = await startRepository(t)
  await apply(changeOf(joined('orgmem_1', 'org_1', 'user_1', T0)))
  const client = new pg.Client(database.url)
  await client.connect()
  t.teardown(() => client.end())
  const db = drizzle(client)
  t.match(await db.select().from(organizationMemberships), [{ id: 'orgmem_1', organizationId: 'org_1', endedAt: null }])
  t.match(await db.select().from(livingMemberships), [{ id: 'orgmem_1', permissions: ['org:posts:read'] }])
  t.match(await db.select().from(livingOrganizations), [{ id: 'org_1', slug: 'org-1' }])
  t.match(await db.select().from(livingUsers), [{ id: 'user_1', firstName: 'Grace' }])
})

test('Drizzle reads tables of any schema name', async (t) => {
  const database = await createDatabase(t, { isEmpty: true })
  await migrate(database.url, { schema: 'other' })
  await database.query("insert into other.users (id, first_name, sync_source) values ('user_1', 'Grace', 'webhook')")
  const client = new pg.Client(database.url)
  await client.connect()
  t.teardown(() => client.end())
  const { users } = tablesIn('other')
  t.match(await drizzle(client).select().from(users), [{ id: 'user_1', firstName: 'Grace' }])
})
