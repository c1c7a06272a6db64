/** The views and functions that an application uses in SQL: see docs/organizations.md. */
import { type Test, test } from 'tap'
import { migrate } from '../../src/db/migrate.ts'
import { createDatabase } from '../helpers/database.ts'
import { changeOf, joined, left, organizationDeleted, roleChanged } from '../helpers/organization-events.ts'
import { SECOND, snapshot, startRepository, T0 } from '../helpers/repository.ts'

const V2 = {
  v: 2,
  sub: 'user_1',
  fea: 'o:posts,u:export,ou:reports',
  o: { id: 'org_1', slg: 'acme', rol: 'editor', per: 'read,edit', fpm: '3,2' },
}
const V1 = {
  sub: 'user_1',
  org_id: 'org_1',
  org_role: 'org:editor',
  org_permissions: ['org:posts:read', 'org:posts:edit', 'org:reports:edit'],
}

async function start(t: Test) {
  const { database, applyInTurn } = await startRepository(t)
  async function withClaims(claims: object | string | null, sql: string): Promise<unknown> {
    const client = await database.connect()
    try {
      await client.query('begin')
      if (claims !== null) {
        const text = typeof claims === 'string' ? claims : JSON.stringify(claims)
        await client.query("select set_config('request.jwt.claims', $1, true)", [text])
      }
      const { rows } = await client.query(`select ${sql} as value`)
      return rows[0].value
    } finally {
      await client.query('rollback')
      client.release()
    }
  }
  return { database, applyInTurn, withClaims }
}

for (const [version, claims] of [
  ['2', V2],
  ['1', V1],
] as const) {
  test(`claims of version ${version} are read in SQL`, async (t) => {
    const { withClaims } = await start(t)
    const has = (permission: string) => withClaims(claims, `jwt_has_permission('${permission}')`)
    t.equal(await withClaims(claims, 'jwt_user_id()'), 'user_1')
    t.equal(await withClaims(claims, 'jwt_organization_id()'), 'org_1')
    t.equal(await withClaims(claims, 'jwt_role()'), 'org:editor')
    t.strictSame(
      await Promise.all(
        ['org:posts:read', 'posts:edit', 'org:reports:edit', 'org:reports:read', 'org:export:read'].map(has),
      ),
      [true, true, true, false, false],
    )
  })
}

test('without claims or an organization, the SQL functions return null', async (t) => {
  const { withClaims } = await start(t)
  for (const claims of [null, '', {}]) {
    for (const call of [
      'jwt_user_id()',
      'jwt_organization_id()',
      'jwt_role()',
      "jwt_has_permission('org:a:b')",
      "is_member('org_1')",
      "has_permission('org_1', 'org:a:b')",
    ]) {
      t.equal(await withClaims(claims, call), null, `${JSON.stringify(claims)}: ${call}`)
    }
  }
  t.equal(await withClaims({ v: 2, sub: 'user_1' }, "jwt_has_permission('org:a:b')"), null)
  for (const o of [{ fpm: 'x' }, { fpm: '-1' }, { fpm: undefined }, { per: undefined }]) {
    t.equal(await withClaims({ ...V2, o: { ...V2.o, ...o } }, "jwt_has_permission('org:posts:read')"), false)
  }
  t.equal(await withClaims({ ...V2, fea: 'posts' }, "jwt_has_permission('org:posts:read')"), false, 'no scope')
  t.equal(await withClaims({ ...V1, org_permissions: 'org:posts:read' }, "jwt_has_permission('org:posts:read')"), false)
})

test('is_member and has_permission read the tables', async (t) => {
  const { applyInTurn, withClaims } = await start(t)
  await applyInTurn(
    changeOf(joined('orgmem_1', 'org_1', 'user_1', T0 + SECOND, { role: 'org:editor', permissions: ['org:a:a'] })),
    changeOf(roleChanged('role_1', 'org:editor', T0 + 2 * SECOND, ['org:posts:edit'])),
    changeOf(joined('orgmem_2', 'org_1', 'user_2', T0 + SECOND)),
    changeOf(left('orgmem_2', 'org_1', 'user_2', T0 + 2 * SECOND)),
  )
  const claims = { sub: 'user_1' }
  t.equal(await withClaims(claims, "is_member('org_1')"), true)
  t.equal(await withClaims(claims, "is_member('org_2')"), false)
  t.equal(await withClaims(null, "is_member('org_1', 'user_1')"), true)
  t.equal(await withClaims(null, "is_member('org_1', 'user_2')"), false)
  t.equal(await withClaims(claims, "has_permission('org_1', 'org:posts:edit')"), true)
  t.equal(await withClaims(claims, "has_permission('org_1', 'org:a:a')"), false)
  t.equal(await withClaims(null, "has_permission('org_1', 'posts:edit', 'user_1')"), true)
  await applyInTurn(changeOf(organizationDeleted('org_1', T0 + 3 * SECOND)))
  t.equal(await withClaims(claims, "is_member('org_1')"), false)
})

test('the views leave out what has ended', async (t) => {
  const { database, applyInTurn } = await start(t)
  await applyInTurn(
    { user: snapshot('user_1', T0) },
    { user: snapshot('user_2', T0) },
    // Inferred: its memberships are not ended, and yet nobody gets in.
    { user: { kind: 'deletion', id: 'user_2', deletedAt: T0 + 9 * SECOND, source: 'clerk_api' } },
    changeOf(joined('orgmem_1', 'org_1', 'user_1', T0)),
    changeOf(joined('orgmem_2', 'org_1', 'user_2', T0)),
    changeOf(joined('orgmem_3', 'org_2', 'user_1', T0)),
    changeOf(organizationDeleted('org_2', T0)),
  )
  const ids = async (view: string) => (await database.query(`select id from ${view} order by id`)).map(({ id }) => id)
  t.strictSame(await ids('living_users'), ['user_1'])
  t.strictSame(await ids('living_organizations'), ['org_1'])
  t.strictSame(await ids('living_memberships'), ['orgmem_1'])
})

test('row-level security by organization and permission, as in docs/organizations.md', async (t) => {
  const { database, applyInTurn } = await start(t)
  await applyInTurn(
    changeOf(joined('orgmem_1', 'org_1', 'user_1', T0, { permissions: ['org:documents:edit'] })),
    changeOf(joined('orgmem_2', 'org_1', 'user_2', T0, { permissions: [] })),
  )
  const role = `app_${Math.random().toString(36).slice(2, 10)}`
  await database.query(`create role ${role} nologin`)
  t.teardown(async () => {
    await database.query(`drop owned by ${role}; drop role ${role}`)
  })
  await database.query(`
    create table public.documents (id int primary key, organization_id text not null, title text not null);
    alter table public.documents enable row level security;
    create policy read on public.documents for select using ((select clerk.is_member(organization_id)));
    create policy write on public.documents for update
      using (clerk.is_member(organization_id)) with check (clerk.has_permission(organization_id, 'org:documents:edit'));
    insert into public.documents values (1, 'org_1', 'Ours'), (2, 'org_2', 'Theirs');
    grant usage on schema clerk, public to ${role};
    grant select, update on public.documents to ${role};`)
  async function as(userId: string, sql: string) {
    const client = await database.connect()
    try {
      await client.query(`begin; set local role ${role}`)
      await client.query("select set_config('request.jwt.claims', $1, true)", [JSON.stringify({ sub: userId })])
      const { rows } = await client.query(sql)
      await client.query('commit')
      return rows
    } catch (error) {
      await client.query('rollback')
      return (error as Error).message
    } finally {
      client.release()
    }
  }
  const all = 'select id from public.documents order by id'
  t.strictSame(await as('user_1', all), [{ id: 1 }])
  t.strictSame(await as('user_3', all), [])
  const rename = (title: string) => `update public.documents set title = '${title}' returning id, title`
  t.strictSame(await as('user_1', rename('New')), [{ id: 1, title: 'New' }])
  t.match(await as('user_2', rename('Mine')), /row-level security/)
  t.match(await as('user_1', 'select * from clerk.users'), /permission denied/, 'the tables themselves stay closed')
  await applyInTurn(changeOf(left('orgmem_1', 'org_1', 'user_1', T0 + SECOND)))
  t.strictSame(await as('user_1', all), [])
})

test('functions and views move with the tables, and still ask them', async (t) => {
  const database = await createDatabase(t, { isEmpty: true })
  await migrate(database.url, { schema: 'old' })
  await migrate(database.url, { schema: 'clerk', fromSchema: 'old' })
  await database.query(
    `insert into clerk.organization_memberships (id, organization_id, user_id, role, clerk_updated_at, sync_source)
    values ('orgmem_1', 'org_1', 'user_1', 'org:member', now(), 'webhook')`,
  )
  t.strictSame(await database.query("select clerk.is_member('org_1', 'user_1') as yes"), [{ yes: true }])
  t.strictSame(
    await database.query("select proname from pg_proc where pronamespace = 'old'::regnamespace"),
    [],
    'nothing stays behind',
  )
})

test('if every role may use the schema, none but the owner may call the functions', async (t) => {
  const open = await createDatabase(t, { isEmpty: true })
  await migrate(open.url, { schema: 'public' })
  const mayCall = `select has_function_privilege('public', oid, 'execute') as yes from pg_proc where proname = 'is_member'`
  t.strictSame(await open.query(mayCall), [{ yes: false }])
  const closed = await createDatabase(t)
  t.strictSame(await closed.query(mayCall), [{ yes: true }], 'the schema itself keeps them out')
  const usage = `select has_schema_privilege('public', 'clerk', 'usage') as yes`
  t.strictSame(await closed.query(usage), [{ yes: false }])
})
