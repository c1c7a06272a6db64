/** Everything once more with a real PgBouncer between, in each of its modes. */
import { type Test, test } from 'tap'
import { withLease } from '../../src/db/lease.ts'
import { migrate } from '../../src/db/migrate.ts'
import { createPool } from '../../src/db/pool.ts'
import { startCommandLine } from '../helpers/command-line.ts'
import { createDatabase, type TestDatabase } from '../helpers/database.ts'
import { type PgBouncerOptions, startPgBouncer } from '../helpers/pgbouncer.ts'
import { message, runOn, session, snapshot, startRepository, T0 } from '../helpers/repository.ts'
import { startService } from '../helpers/service.ts'
import { waitUntil } from '../helpers/wait-until.ts'

const IGNORED = 'ignore_startup_parameters=extra_float_digits,options,statement_timeout,lock_timeout'

const POOLERS: Record<string, PgBouncerOptions & { env?: Record<string, string> }> = {
  'session mode, startup parameters ignored': { mode: 'session', settings: [IGNORED] },
  'session mode, startup parameters refused': { mode: 'session' },
  'transaction mode': { mode: 'transaction' },
  'transaction mode, as DATABASE_TRANSACTION_POOLING says': {
    mode: 'transaction',
    env: { DATABASE_TRANSACTION_POOLING: 'true' },
  },
}

async function startBehindPgBouncer(t: Test, options: PgBouncerOptions = {}) {
  const database = await createDatabase(t, { isEmpty: true })
  return { database, pooled: { ...database, url: await startPgBouncer(t, database.url, options) } }
}

/** Production's tables in `public`, with users whom Clerk's staging instance does not know. Resolves to all that they hold. */
async function fillProduction(database: TestDatabase) {
  await migrate(database.url, { schema: 'public' })
  await database.query(`insert into public.users (id, email, sync_source, clerk_updated_at)
    select 'user_prod' || n, 'prod' || n || '@example.com', 'webhook', now() from generate_series(1, 40) n`)
  await database.query(`insert into public.sessions (id, user_id, status, clerk_updated_at)
    select 'sess_prod' || n, 'user_prod' || n, 'active', now() from generate_series(1, 40) n`)
  await database.query(
    `insert into public.webhook_events (id, type, outcome) values ('msg_prod', 'user.created', 'applied')`,
  )
  await database.query(`insert into public.sync_state (job, state) values ('reconcile', '{}')`)
  return () =>
    Promise.all(
      ['users', 'sessions', 'webhook_events', 'sync_state', 'reconcile_seen'].map((table) =>
        database.query(`select xmin::text, ctid::text, to_jsonb(t) as row from public.${table} t order by ctid`),
      ),
    )
}

for (const [name, { env = {}, ...options }] of Object.entries(POOLERS)) {
  test(`behind ${name}, a service of another schema leaves production's tables as they are`, async (t) => {
    const { database, pooled } = await startBehindPgBouncer(t, options)
    const production = await fillProduction(database)
    const before = await production()
    const settings = { DATABASE_URL: pooled.url, DATABASE_SCHEMA: 'staging', ...env }
    const cli = await startCommandLine(t, {}, settings)
    t.equal((await cli.run('migrate')).code, 0)
    const { clerk, call, url } = await startService(t, {
      settings: { DATABASE_SCHEMA: 'staging', ...env },
      beside: { clerk: cli.clerk, database: pooled },
    })
    clerk.webhooks.url = `${url}/clerk`
    const users = Array.from({ length: 20 }, () => clerk.createUser())
    const signedIn = users.map(({ id }) => clerk.signIn(id))
    const replies = await Promise.all(
      signedIn.map(({ id }) => call('/api/auth/profile', { token: clerk.sessionToken(id) })),
    )
    t.strictSame(new Set(replies.map(({ status }) => status)), new Set([200]))
    clerk.revokeSession(signedIn[0]?.id as string)
    await clerk.webhooks.idle()
    const token = clerk.sessionToken(signedIn[0]?.id as string)
    t.match(await call('/api/auth/profile', { token }), { status: 401, body: { code: 'SESSION_REVOKED' } })
    t.equal((await call('/api/auth/health')).body.status, 'ok')
    t.strictSame(
      await database.query("select count(*)::int from staging.webhook_events where outcome in ('applied', 'stale')"),
      [{ count: 61 }],
    )
    await database.query(`update staging.users set email = 'wrong@example.com' where id = $1`, [users[0]?.id])
    await database.query(`delete from staging.users where id = $1`, [users[1]?.id])
    await database.query(`insert into staging.users (id, sync_source) values ('user_gone', 'webhook')`)
    const reconciled = await cli.run('reconcile', '--fix', '--json')
    t.match(reconciled.json, {
      isComplete: true,
      remaining: 0,
      drift: { missing: { count: 1, repaired: 1 }, stale: { count: 1, repaired: 1 }, gone: { count: 1, repaired: 1 } },
    })
    const doctor = await cli.run('doctor', '--json', '--url', 'http://127.0.0.1:1')
    const failing = doctor.json.checks.filter(({ status }: { status: string }) => status === 'fail')
    t.strictSame(
      failing.map(({ name }: { name: string }) => name),
      ['service'],
    )
    t.strictSame(await production(), before)
  })
}

test('migrations need no direct connection, also several at once', async (t) => {
  for (const { env, ...options } of Object.values(POOLERS)) {
    const { database, pooled } = await startBehindPgBouncer(t, options)
    await Promise.all(Array.from({ length: 3 }, () => migrate(pooled.url)))
    await Promise.all(Array.from({ length: 3 }, () => migrate(pooled.url, { schema: 'other' })))
    t.strictSame(
      await database.query(
        `select to_regclass('clerk.users') is not null as one, to_regclass('other.users') is not null as two`,
      ),
      [{ one: true, two: true }],
    )
    t.strictSame(
      await database.query(
        "select 1 from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())",
      ),
      [],
      'no lock stays behind',
    )
  }
})

for (const transactionPooling of [true, false]) {
  test(`in transaction mode the limits hold for each statement, and prepared statements are ${transactionPooling ? 'not tried' : 'given up as the pooler keeps none'}`, async (t) => {
    const { database, pooled } = await startBehindPgBouncer(t)
    for (const schema of ['clerk', 'other']) await migrate(database.url, { schema })
    const options = { database: pooled, transactionPooling, max: 8 }
    const one = await startRepository(t, { ...options, schema: 'other', statementTimeoutMs: 777 })
    const two = await startRepository(t, options)
    const shown = async ({ pool }: typeof one) =>
      (await runOn<{ timeout: string }>(pool, "select current_setting('statement_timeout') as timeout"))[0]?.timeout
    for (let round = 0; round < 5; round += 1) {
      // More at once than there are connections.
      const [ours, theirs] = await Promise.all([shown(one), shown(two), ...Array.from({ length: 6 }, () => shown(two))])
      t.strictSame([ours, theirs], ['777ms', '3s'])
    }
    const lanes = Array.from({ length: 60 }, async (_, i) => {
      const { apply, repository } = i % 2 === 0 ? one : two
      const changes = {
        user: snapshot(`user_${i % 6}`, T0 + i),
        session: session(`sess_${i}`, `user_${i % 6}`, 'active', T0),
      }
      const [outcome] = await apply({ message: message(`msg_${i}`), ...changes })
      const { user } = await repository.findAuthState({ userId: `user_${i % 6}`, sessionId: `sess_${i}` })
      return [outcome, user?.id]
    })
    t.strictSame(
      await Promise.all(lanes),
      lanes.map((_, i) => ['applied', `user_${i % 6}`]),
    )
    for (const schema of ['clerk', 'other']) {
      t.strictSame(await database.query(`select count(*)::int, max(attempts) as most from ${schema}.webhook_events`), [
        { count: 30, most: 1 },
      ])
    }
    t.equal(await two.repository.prune(30), 0)
    await t.rejects(runOn(one.pool, 'select pg_sleep(2)'), { code: '57014' }, 'also a time limit that is met')
    await t.rejects(runOn(one.pool, 'select nothing'), { code: '42703' })
    t.equal(await shown(one), '777ms', 'and it goes on')
    t.strictSame(
      await database.query(
        "select 1 from pg_stat_activity where datname = current_database() and state like 'idle in transaction%'",
      ),
      [],
    )
  })
}

test('in transaction mode, a failed statement does not mix up answers', async (t) => {
  const { database, pooled } = await startBehindPgBouncer(t)
  await migrate(database.url)
  await database.query('alter table clerk.users add constraint no_x check (username <> $$x$$)')
  const options = { database: pooled, max: 4 }
  const [failing, other] = [await startRepository(t, options), await startRepository(t, options)]
  const rounds = Array.from({ length: 60 }, async (_, i) => {
    const user = snapshot(`user_${i}`, T0, { username: i % 2 === 0 ? 'x' : `name_${i}` })
    const { apply, repository } = i % 2 === 0 ? failing : other
    const [outcome] = await apply({ message: message(`msg_${i}`), user })
    if (i % 2 === 0) return t.match(outcome, { code: '23514' })
    t.equal(outcome, 'applied')
    t.equal((await repository.findAuthState({ userId: `user_${i}`, sessionId: null })).user?.username, `name_${i}`)
  })
  await Promise.all(rounds)
  t.strictSame(
    await database.query(
      'select outcome, count(*)::int, max(attempts) as most from webhook_events group by 1 order by 1',
    ),
    [
      { outcome: 'applied', count: 30, most: 1 },
      { outcome: 'failed', count: 30, most: 1 },
    ],
  )
})

test('in transaction mode, one process at a time runs a job', async (t) => {
  const { database, pooled } = await startBehindPgBouncer(t)
  await migrate(database.url)
  const pools = [1, 2].map(() => createPool({ connectionString: pooled.url, onError: () => undefined }))
  t.teardown(() => Promise.all(pools.map((pool) => pool.end())))
  const [one, two] = pools as [(typeof pools)[0], (typeof pools)[0]]
  const ran = await withLease(one, 'reconcile', async () => {
    t.equal(await withLease(two, 'reconcile', async () => 'a second'), undefined)
    t.strictSame(await withLease(two, 'backfill', async () => 'another job'), { result: 'another job' })
    return 'done'
  })
  t.strictSame(ran, { result: 'done' })
  t.strictSame(await withLease(two, 'reconcile', async () => 'afterwards'), { result: 'afterwards' })
})

test("in transaction mode, the service's reconcile works too", async (t) => {
  const { database, pooled } = await startBehindPgBouncer(t)
  await migrate(database.url)
  await startService(t, {
    settings: { DATABASE_URL: pooled.url, RECONCILE_INTERVAL_MINUTES: '1' },
    onEmulator: (clerk) => void clerk.createUser({ email: 'ada@example.com' }),
  })
  await waitUntil('the row', async () => (await database.query('select 1 from users')).length > 0)
  await waitUntil(
    'the report',
    async () => (await database.query("select 1 from sync_state where job = 'reconcile'")).length > 0,
  )
})
