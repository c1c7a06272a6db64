import { test } from 'tap'
import { statementTracing } from '../../src/db/channels.ts'
import { startService } from '../helpers/service.ts'
import { waitUntil } from '../helpers/wait-until.ts'

const SYNC = '/api/auth/sync-user'

for (const hasSecretKey of [true, false]) {
  test(`a sync with nothing new writes nothing (${hasSecretKey ? 'Backend API' : 'claims'})`, async (t) => {
    const { clerk, call, database } = await startService(t, {
      hasSecretKey,
      clerk: { sessionClaims: ({ first_name }) => ({ first_name }) },
    })
    clerk.webhooks.url = undefined
    const ada = clerk.createUser({ firstName: 'Ada' })
    const token = clerk.sessionToken(clerk.signIn(ada.id).id)
    const rows = () => database.query('select *, xmin::text, ctid::text from users')
    t.match(await call(SYNC, { method: 'POST', token }), { status: 201 })
    const before = await rows()
    for (const [method, path] of [
      ['POST', SYNC],
      ['GET', '/api/auth/profile'],
      ['POST', SYNC],
    ] as const) {
      t.match(await call(path, { method, token }), { status: 200, body: { user: { firstName: 'Ada' } } })
      t.strictSame(await rows(), before)
    }
  })
}

test('a sync by claims is one transaction, and reads alone once PostgreSQL has compared the token', async (t) => {
  const { clerk, call, database } = await startService(t, {
    hasSecretKey: false,
    clerk: { sessionClaims: ({ first_name }) => ({ first_name }) },
  })
  clerk.webhooks.url = undefined
  const ada = clerk.createUser({ firstName: 'Ada' })
  const { id } = clerk.signIn(ada.id)
  const token = (claims: object) => clerk.sessionToken(id, { claims })
  const sync = (token: string) => call(SYNC, { method: 'POST', token })
  const statements: string[] = []
  const onStatement = (message: unknown) => statements.push((message as { name: string }).name)
  statementTracing.start.subscribe(onStatement)
  t.teardown(() => statementTracing.start.unsubscribe(onStatement))
  // Without those of the jobs.
  const taken = () => statements.splice(0).filter((name) => ['users_upsert', 'auth_states'].includes(name))

  const first = token({})
  t.match(await sync(first), { status: 201, body: { source: 'session_claims', user: { firstName: 'Ada' } } })
  t.strictSame(taken(), ['users_upsert', 'auth_states'])
  t.match(await sync(first), { status: 200, body: { source: 'database', user: { firstName: 'Ada' } } })
  t.strictSame(taken(), ['auth_states'])

  const iat = Math.floor(Date.now() / 1000)
  t.match(await sync(token({ iat: iat + 2, first_name: 'Augusta' })), {
    status: 200,
    body: { created: false, source: 'session_claims', user: { firstName: 'Augusta' } },
  })
  t.strictSame(taken(), ['users_upsert', 'auth_states'], 'the state is that after the write')

  // Somebody else holds the row.
  const holder = await database.connect()
  t.teardown(() => holder.release())
  await holder.query('begin')
  await holder.query('select from clerk.users for update')
  t.match(await sync(token({ iat: iat - 5, first_name: 'Old' })), {
    status: 200,
    body: { created: false, source: 'database', user: { firstName: 'Augusta' } },
  })
  t.strictSame(taken(), ['users_upsert', 'auth_states'], 'claims that are not newer wait for no lock')
  await holder.query('rollback')
})

test('on a read-only database a sync by claims answers with the row that is there', async (t) => {
  const { clerk, call, database } = await startService(t, {
    hasSecretKey: false,
    clerk: { sessionClaims: ({ first_name }) => ({ first_name }) },
  })
  clerk.webhooks.url = undefined
  const tokenOf = (id: string, claims: object) => clerk.sessionToken(clerk.signIn(id).id, { claims })
  const sync = (token: string) => call(SYNC, { method: 'POST', token })
  const iat = Math.floor(Date.now() / 1000)
  const [ada, bob, eve] = ['Ada', 'Bob', 'Eve'].map((firstName) => clerk.createUser({ firstName }).id)
  t.equal((await sync(tokenOf(`${ada}`, {}))).status, 201)
  await database.query(`insert into users (id, sync_source, deleted_at) values ($1, 'webhook', now())`, [eve])
  await database.query(`do $$ begin
    execute format('alter database %I set default_transaction_read_only = on', current_database()); end $$`)
  // Connections of before do not know.
  await database.query(
    `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`,
  )
  const answer = () => sync(tokenOf(`${ada}`, { iat: iat + 2, first_name: 'Augusta' }))
  await waitUntil('new connections', async () => (await answer()).body.source === 'database')
  t.match(await answer(), { status: 200, body: { created: false, source: 'database', user: { firstName: 'Ada' } } })
  t.match(await sync(tokenOf(`${bob}`, {})), { status: 503, body: { code: 'DATABASE_UNAVAILABLE' } }, 'nobody is made')
  t.match(await sync(tokenOf(`${eve}`, {})), { status: 403, body: { code: 'USER_DELETED' } })
})
