import { test } from 'tap'
import { setChangeFeed } from '../../../src/db/changes/enable.ts'
import { resources } from '../../../src/resources/index.ts'
import { claims, deletion, message, SECOND, session, snapshot, startRepository, T0 } from '../../helpers/repository.ts'

const TRIGGERS_OF_ALL = 4 * resources.length

/** A repository whose changes are told, and what was told since the last time. */
async function startTold(t: Parameters<typeof startRepository>[0]) {
  const started = await startRepository(t)
  const { database } = started
  await setChangeFeed(database.url, { isEnabled: true })
  async function told() {
    const rows = await database.query(
      'with gone as (delete from changes returning *) select * from gone order by xid, seq',
    )
    return rows.map(({ entity, entity_id: id, op, changed, cause }) =>
      [entity, id, op, changed.join(), cause].join(' '),
    )
  }
  return { ...started, told }
}

test('the feed of a user: created once, updated with the visible columns, deleted once', async (t) => {
  const { apply, told } = await startTold(t)
  await apply({ user: claims('user_1', T0, { email: 'a@example.com' }) })
  t.strictSame(await told(), ['user user_1 created  session_claims'])
  await apply({ message: message('m1'), user: snapshot('user_1', T0, { email: 'a@example.com' }) })
  t.strictSame(await told(), [], 'the version and the source are no visible changes')
  await apply({ user: snapshot('user_1', T0 + SECOND, { eventAt: null, email: 'b@example.com', firstName: 'B' }) })
  t.strictSame(await told(), ['user user_1 updated email,first_name clerk_api'])
  await apply({
    user: snapshot('user_1', T0 + 2 * SECOND, {
      eventAt: null,
      email: 'b@example.com',
      firstName: 'B',
      lastSignInAt: T0,
    }),
  })
  t.strictSame(await told(), [], 'when somebody signed in last is no visible change')
  await apply({ message: message('m2'), user: deletion('user_1', T0 + 3 * SECOND) })
  t.strictSame(await told(), ['user user_1 deleted  webhook'])
  await apply({ message: message('m3'), user: deletion('user_1', T0 + 4 * SECOND) })
  await apply({ message: message('m4'), user: deletion('user_unknown', T0) })
  t.strictSame(await told(), [], 'neither twice, nor of somebody who was never known')
})

test('the feed of sessions; the deletion of a user ends her sessions with the same cause', async (t) => {
  const { apply, told } = await startTold(t)
  await apply({
    message: message('m1'),
    user: snapshot('user_1', T0),
    session: session('sess_1', 'user_1', 'pending', T0),
  })
  t.strictSame(await told(), ['user user_1 created  webhook', 'session sess_1 created  webhook'])
  await apply({ message: message('m2'), session: session('sess_1', 'user_1', 'active', T0 + SECOND) })
  t.strictSame(await told(), ['session sess_1 updated status webhook'])
  await apply({
    message: message('m3'),
    session: { ...session('sess_1', 'user_1', 'active', T0 + 2 * SECOND), lastActiveAt: T0 + 9 },
  })
  t.strictSame(await told(), [], 'times are no visible changes')
  await apply({ message: message('m4'), session: session('sess_2', 'user_2', 'ended', T0) })
  t.strictSame(await told(), [], 'a session that was over when it was first heard of')
  await apply({ message: message('m6'), user: deletion('user_1', T0 + 5 * SECOND) })
  t.strictSame(await told(), ['user user_1 deleted  webhook', 'session sess_1 deleted  webhook'])
  await apply({ message: message('m5'), session: session('sess_1', 'user_1', 'revoked', T0 + 6 * SECOND) })
  t.strictSame(await told(), [], 'how it ended, once it has, is nothing new')
})

test('each change of a batch has its own cause', async (t) => {
  const { apply, told } = await startTold(t)
  await apply(
    { user: snapshot('user_1', T0, { eventAt: null }) },
    { message: message('m0'), session: session('sess_1', 'user_2', 'active', T0) },
    { user: snapshot('user_2', T0, { eventAt: null }) },
  )
  await told()
  await apply(
    { message: message('m1'), user: snapshot('user_web', T0) },
    { user: snapshot('user_api', T0, { eventAt: null }) },
    { user: claims('user_claims', T0, {}) },
    { user: claims('user_web', T0 + SECOND, { email: 'x@example.com' }) },
    { user: { ...deletion('user_1', T0 + SECOND), source: 'clerk_api' } },
    { message: message('m2'), user: deletion('user_2', T0 + SECOND) },
  )
  t.strictSame((await told()).sort(), [
    'session sess_1 deleted  webhook',
    'user user_1 deleted  clerk_api',
    'user user_2 deleted  webhook',
    'user user_api created  clerk_api',
    'user user_claims created  session_claims',
    'user user_web created  webhook',
    'user user_web updated email webhook',
  ])
})

test('writes of other programs are reported too, without a cause', async (t) => {
  const { apply, told, database } = await startTold(t)
  await apply({ user: snapshot('user_1', T0, { eventAt: null }) }, { user: snapshot('user_2', T0, { eventAt: null }) })
  await told()
  const sql = async (text: string) => {
    await database.query(text)
    return told()
  }
  t.strictSame(await sql("update users set email = 'x', username = 'y' where id = 'user_1'"), [
    'user user_1 updated email,username ',
  ])
  t.strictSame(await sql("update users set email = 'x', updated_at = now()"), ['user user_2 updated email '])
  t.strictSame(
    await sql("update users set id = 'user_3' where id = 'user_2'"),
    ['user user_2 deleted  ', 'user user_3 created  '].sort(),
  )
  t.strictSame(await sql("update users set deleted_at = now() where id = 'user_3'"), ['user user_3 deleted  '])
  t.strictSame(
    await sql("update users set deleted_at = null where id = 'user_3'"),
    ['user user_3 created  '],
    'brought back',
  )
  t.strictSame(await sql("insert into users (id, sync_source) values ('user_4', 'x')"), ['user user_4 created  '])
  t.strictSame(await sql("delete from users where id = 'user_4'"), ['user user_4 deleted  '])
  t.strictSame((await sql('truncate users')).sort(), ['user user_1 deleted  ', 'user user_3 deleted  '])
  t.strictSame(await sql("update users set deleted_at = now() where id = 'user_3'"), [], 'no row, nothing told')
})

test('writing to a table needs no right to write to the feed', async (t) => {
  const { database, told } = await startTold(t)
  const role = `writer_${process.pid}_${Date.now()}`
  const client = await database.connect()
  t.teardown(() => client.release(true))
  await client.query(
    `create role ${role}; grant usage on schema clerk to ${role}; grant insert, select on clerk.users to ${role}; set role ${role}`,
  )
  await client.query("insert into clerk.users (id, sync_source) values ('user_1', 'x')")
  await t.rejects(client.query('select from clerk.changes'), { code: '42501' })
  await t.rejects(
    client.query(
      'create temp table mine (id text); create trigger x after insert on mine execute function clerk.changes_of_users()',
    ),
    { code: '42501' },
  )
  await client.query('reset role')
  await client.query(`drop owned by ${role}; drop role ${role}`)
  t.strictSame(await told(), ['user user_1 created  '])
})

test('the feed can be turned on and off; while it is off there are no triggers and no changes', async (t) => {
  const { database, apply } = await startRepository(t)
  const triggers = async () =>
    (await database.query('select count(*)::int from pg_trigger where not tgisinternal'))[0]?.count
  await apply({ user: snapshot('user_1', T0) })
  t.equal(await triggers(), 0)
  for (const isEnabled of [true, true, false, false, true]) {
    await setChangeFeed(database.url, { isEnabled })
    t.equal(await triggers(), isEnabled ? TRIGGERS_OF_ALL : 0)
  }
  await database.query('alter table users disable trigger changes_insert')
  await setChangeFeed(database.url, { isEnabled: true })
  await database.query(
    'create or replace function changes_of_sessions() returns trigger language plpgsql as $$ begin return null; end $$',
  )
  await database.query("comment on function changes_of_sessions() is 'of another release'")
  await setChangeFeed(database.url, { isEnabled: true })
  await apply(
    { user: snapshot('user_2', T0) },
    { message: message('m'), session: session('sess_1', 'user_2', 'active', T0) },
  )
  t.equal((await database.query('select from changes')).length, 2, 'what was broken is as it should be again')
  await setChangeFeed(database.url, { isEnabled: false })
  t.strictSame(
    await database.query(
      "select from pg_proc where pronamespace = 'clerk'::regnamespace and proname like 'changes_of%'",
    ),
    [],
  )
})

test('a role that may not create or drop triggers gets the SQL, which is sufficient', async (t) => {
  const { database } = await startRepository(t)
  const role = `server_${process.pid}_${Date.now()}`
  await database.query(
    `create role ${role} login password 'secret'; grant usage on schema clerk to ${role};
    grant select, insert, update, delete on all tables in schema clerk to ${role}`,
  )
  const url = new URL(database.url)
  url.username = role
  url.password = 'secret'
  await setChangeFeed(url.href, { isEnabled: false })
  for (const isEnabled of [true, false]) {
    const error = await setChangeFeed(url.href, { isEnabled }).then(
      () => undefined,
      (error: Error) => error,
    )
    t.match(error, { name: 'SchemaError', message: isEnabled ? /CHANGES=true needs triggers/ : /CHANGES is off/ })
    await database.query(error?.message.split('run:\n')[1] as string)
    await setChangeFeed(url.href, { isEnabled })
  }
  await database.query(`drop owned by ${role}; drop role ${role}`)
})

test('a lock on a table delays the creation of triggers, which does not block its holder', async (t) => {
  const { database } = await startRepository(t)
  const client = await database.connect()
  t.teardown(() => client.release(true))
  await client.query("begin; insert into clerk.users (id, sync_source) values ('user_1', 'x')")
  const enabling = setChangeFeed(database.url, { isEnabled: true })
  setTimeout(() => client.query('commit'), 1_500)
  await enabling
  t.equal((await database.query('select from pg_trigger where not tgisinternal')).length, TRIGGERS_OF_ALL)
  await t.rejects(setChangeFeed(database.url, { isEnabled: true, schema: 'nowhere' }))
})

test('a user comes back as created after an inferred deletion', async (t) => {
  const { apply, told } = await startTold(t)
  await apply({ user: snapshot('user_1', T0) })
  await told()
  await apply({ user: { ...deletion('user_1', T0 + SECOND), source: 'clerk_api' } })
  t.strictSame(await told(), ['user user_1 deleted  clerk_api'])
  await apply({ message: message('m1'), user: snapshot('user_1', T0 + 2 * SECOND) })
  t.strictSame(await told(), ['user user_1 created  webhook'])
})

test('the feed of organizations, memberships, roles and invitations', async (t) => {
  const { database, told } = await startTold(t)
  const sql = async (text: string) => {
    await database.query(text)
    return told()
  }
  const insert = (table: string, columns: string, values: string) =>
    sql(`insert into ${table} (id, sync_source, clerk_updated_at, clerk_heard_at, ${columns}) values (${values})`)
  t.strictSame(await insert('organizations', 'name', "'org_1', 'x', now(), now(), 'Acme'"), [
    'organization org_1 created  ',
  ])
  t.strictSame(await sql("update organizations set slug = 'acme', clerk_heard_at = now()"), [
    'organization org_1 updated slug ',
  ])
  t.strictSame(await sql('update organizations set deleted_at = now()'), ['organization org_1 deleted  '])
  t.strictSame(await insert('organization_memberships', 'user_id', "'orgmem_1', 'x', now(), now(), 'user_1'"), [
    'membership orgmem_1 created  ',
  ])
  t.strictSame(await sql("update organization_memberships set permissions = array['a']"), [
    'membership orgmem_1 updated permissions ',
  ])
  t.strictSame(await sql('update organization_memberships set ended_at = now()'), ['membership orgmem_1 deleted  '])
  t.strictSame(await insert('organization_roles', 'key', "'role_1', 'x', now(), now(), 'org:admin'"), [
    'role role_1 created  ',
  ])
  t.strictSame(await sql('update organization_roles set deleted_at = now()'), ['role role_1 deleted  '])
  t.strictSame(await insert('organization_invitations', 'status', "'inv_1', 'x', now(), now(), 'pending'"), [
    'invitation inv_1 created  ',
  ])
  t.strictSame(await sql("update organization_invitations set status = 'accepted'"), [
    'invitation inv_1 updated status ',
  ])
  t.strictSame(await insert('organization_invitations', 'status', "'inv_2', 'x', now(), now(), 'pending'"), [
    'invitation inv_2 created  ',
  ])
  t.strictSame(await sql("update organization_invitations set status = 'revoked' where id = 'inv_2'"), [
    'invitation inv_2 deleted  ',
  ])
})
