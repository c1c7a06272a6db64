/** Everything once more, with a real PgBouncer in transaction mode between. */
import { type Test, test } from 'tap'
import { withJobLock } from '../../src/db/lease.ts'
import { migrate } from '../../src/db/migrate.ts'
import { startCommandLine } from '../helpers/command-line.ts'
import { createDatabase } from '../helpers/database.ts'
import { startPgBouncer } from '../helpers/pgbouncer.ts'
import { message, session, snapshot, startRepository, T0 } from '../helpers/repository.ts'
import { startService } from '../helpers/service.ts'
import { waitUntil } from '../helpers/wait-until.ts'

async function startBehindPgBouncer(t: Test, { isEmpty = false } = {}) {
  const database = await createDatabase(t, { isEmpty })
  return { database, pooled: { ...database, url: await startPgBouncer(t, database.url) } }
}

test('migrations need no direct connection, in a schema of their own or not, also several at once', async (t) => {
  const { database, pooled } = await startBehindPgBouncer(t, { isEmpty: true })
  await Promise.all(Array.from({ length: 3 }, () => migrate(pooled.url)))
  await Promise.all(Array.from({ length: 3 }, () => migrate(pooled.url, { schema: 'clerk' })))
  t.match(
    await database.query(`select to_regclass('public.users')::text as one, to_regclass('clerk.users')::text as two`),
    [{ one: 'users', two: 'clerk.users' }],
  )
  t.strictSame(await database.query("select 1 from pg_locks where locktype = 'advisory'"), [], 'no lock stays behind')
})

test('statements are not prepared by name, and the limits and the schema hold for each', async (t) => {
  const { database, pooled } = await startBehindPgBouncer(t)
  await migrate(database.url, { schema: 'clerk' })
  const options = { database: pooled, transactionPooling: true, max: 8 }
  const one = await startRepository(t, { ...options, schema: 'clerk', statementTimeoutMs: 777 })
  const two = await startRepository(t, options)
  const shown = async ({ pool }: typeof one) =>
    (await pool.query("select current_setting('statement_timeout') as timeout, current_setting('search_path') as path"))
      .rows
  for (let round = 0; round < 5; round += 1) {
    // More at once than there are connections.
    const [ours, theirs] = await Promise.all([shown(one), shown(two), ...Array.from({ length: 6 }, () => shown(two))])
    t.match([ours, theirs], [[{ timeout: '777ms', path: 'clerk' }], [{ timeout: '3s', path: /public/ }]])
  }
  const lanes = Array.from({ length: 60 }, async (_, i) => {
    const { apply, repository } = i % 2 === 0 ? one : two
    const changes = {
      user: snapshot(`user_${i % 6}`, T0 + i),
      session: session(`sess_${i}`, `user_${i % 6}`, 'active', T0),
    }
    const [outcome] = await apply({ message: message(`msg_${i}`), ...changes })
    const { user } = await repository.findAuthState(`user_${i % 6}`, `sess_${i}`)
    // An event of nothing but a user takes one statement where there is no pooler.
    const [alone] = await apply({ message: message(`msg_alone_${i}`), user: snapshot(`user_alone_${i}`, T0) })
    return outcome === 'applied' && user?.id === `user_${i % 6}` && alone === 'applied'
  })
  t.strictSame(new Set(await Promise.all(lanes)), new Set([true]))
  for (const schema of ['clerk', 'public']) {
    t.match(await database.query(`select count(*)::int from ${schema}.webhook_events`), [{ count: 60 }])
    t.match(await database.query(`select count(*)::int from ${schema}.users where id like 'user_alone%'`), [
      { count: 30 },
    ])
  }
  t.equal(await two.repository.prune(30), 0)
  await t.rejects(one.pool.query('select pg_sleep(2)'), { code: '57014' }, 'also a time limit that is met')
  await t.rejects(one.pool.query('select nothing'), { code: '42703' })
  t.equal((await shown(one)).length, 1, 'and it goes on')
})

test('what was sent behind a begin that failed enters no message, and gives nobody the answers of others', async (t) => {
  const { database, pooled } = await startBehindPgBouncer(t)
  const options = { database: pooled, transactionPooling: true, max: 4 }
  const [failing, other] = [await startRepository(t, options), await startRepository(t, options)]
  failing.pool.on('connect', (client) => {
    const query = client.query.bind(client) as (...args: unknown[]) => unknown
    const refused = "do $$ begin raise 'cancelled' using errcode = '57014'; end $$"
    const isBegin = (text: unknown) => typeof text === 'string' && text.startsWith('begin')
    client.query = ((...args: unknown[]) => (isBegin(args[0]) ? query(refused) : query(...args))) as never
  })
  const rounds = Array.from({ length: 60 }, async (_, i) => {
    const change = { message: message(`msg_${i}`), user: snapshot(`user_${i}`, T0) }
    if (i % 2 === 0) return t.rejects(failing.apply(change), { code: 'DATABASE_UNAVAILABLE', cause: { code: '57014' } })
    t.strictSame(await other.apply(change), ['applied'])
    t.equal((await other.repository.findAuthState(`user_${i}`, null)).user?.id, `user_${i}`)
  })
  await Promise.all(rounds)
  t.match(await database.query('select count(*)::int, max(attempts) as most from webhook_events'), [
    { count: 30, most: 1 },
  ])
})

test('the service does all its work behind it', async (t) => {
  const { database, pooled } = await startBehindPgBouncer(t)
  const settings = { DATABASE_URL: pooled.url, DATABASE_TRANSACTION_POOLING: 'true' }
  const { clerk, call } = await startService(t, { settings })
  const users = Array.from({ length: 20 }, (_, i) => clerk.createUser({ email: `user${i}@example.com` }))
  const sessions = users.map(({ id }) => clerk.signIn(id))
  const replies = await Promise.all(
    sessions.map(({ id }) => call('/api/auth/profile', { token: clerk.sessionToken(id) })),
  )
  t.strictSame(new Set(replies.map(({ status }) => status)), new Set([200]))
  const [first] = sessions
  clerk.revokeSession(first?.id as string)
  await clerk.webhooks.idle()
  const token = clerk.sessionToken(first?.id as string)
  t.match(await call('/api/auth/profile', { token }), { status: 401, body: { code: 'SESSION_REVOKED' } })
  t.equal((await call('/api/auth/health')).body.status, 'ok')
  t.match(await database.query("select count(*)::int from webhook_events where outcome <> 'failed'"), [{ count: 61 }])
})

test('the command line does all its work behind it, one job at a time', async (t) => {
  const { database, pooled } = await startBehindPgBouncer(t)
  await migrate(database.url, { schema: 'clerk' })
  const { clerk, run } = await startCommandLine(
    t,
    {},
    { DATABASE_URL: pooled.url, DATABASE_TRANSACTION_POOLING: 'true', DATABASE_SCHEMA: 'clerk' },
  )
  clerk.seedUsers(700)
  t.match((await run('migrate', '--status', '--json')).json, { isUpToDate: true })
  t.match((await run('backfill', '--json')).json, { isComplete: true, created: 700 })
  await database.query(
    `delete from clerk.users where id like '%7'; insert into clerk.users (id, sync_source) values ('user_gone', 'webhook')`,
  )
  t.match((await run('reconcile', '--fix', '--json')).json, {
    isComplete: true,
    remaining: 0,
    drift: { missing: { count: 70, repaired: 70 }, gone: { count: 1, repaired: 1 } },
  })
  const { json } = await run('doctor', '--json', '--url', 'http://127.0.0.1:1')
  t.match(
    json.checks.filter(({ status }: { status: string }) => status === 'fail').map(({ name }: { name: string }) => name),
    ['service'],
  )

  const { pool } = await startRepository(t, { database: pooled, transactionPooling: true, schema: 'clerk' })
  const options = { transactionPooling: true }
  const ran = await withJobLock(
    pool,
    'reconcile',
    async () => {
      t.equal(await withJobLock(pool, 'reconcile', async () => 'a second', options), undefined)
      t.match((await withJobLock(pool, 'backfill', async () => 'another job', options))?.result, 'another job')
      return 'done'
    },
    options,
  )
  t.strictSame(ran, { result: 'done' })
})

test('the reconcile of the service, too', async (t) => {
  const { database, pooled } = await startBehindPgBouncer(t)
  await startService(t, {
    settings: { DATABASE_URL: pooled.url, DATABASE_TRANSACTION_POOLING: 'true', RECONCILE_INTERVAL_MINUTES: '1' },
    onEmulator: (clerk) => void clerk.createUser({ email: 'ada@example.com' }),
  })
  await waitUntil('the row', async () => (await database.query('select 1 from users')).length > 0)
  await waitUntil('the report', async () => (await database.query('select 1 from sync_state')).length > 0)
})
