import { generateKeyPairSync } from 'node:crypto'
import { test } from 'tap'
import { createDatabase } from '../helpers/database.ts'
import { startService } from '../helpers/service.ts'
import { createTcpProxy } from '../helpers/tcp-proxy.ts'

test('a healthy service is ok, with every check', async (t) => {
  const { call, clerk } = await startService(t)
  for (const url of ['/api/auth/health', '/readyz']) {
    const { status, body, headers } = await call(url)
    t.equal(status, 200)
    t.match(body, {
      status: 'ok',
      version: /^\d+\.\d+\.\d+/,
      uptimeSeconds: Number,
      checks: {
        database: { status: 'ok', latencyMs: Number },
        jwks: { status: 'ok', latencyMs: Number },
        webhooks: { status: 'ok', reason: 'none received yet' },
      },
    })
    t.equal(headers.get('cache-control'), 'no-store')
  }
  clerk.createUser({ email: 'ada@example.com' })
  await clerk.webhooks.idle()
  t.match((await call('/readyz')).body.checks.webhooks, { status: 'ok', reason: /^last received 20/ })
  t.match(await call('/livez'), { status: 200, body: { status: 'ok' } })
})

test('a problem that does not stop the service is degraded, not down', async (t) => {
  const { call, clerk } = await startService(t, { clerk: { retryScheduleMs: [] } })
  clerk.webhooks.send('user.updated', { nonsense: true })
  await clerk.webhooks.idle()
  const { status, body } = await call('/readyz')
  t.equal(status, 200)
  t.match(body, { status: 'degraded', checks: { webhooks: { status: 'degraded', reason: /1 failed event/ } } })
})

test('a read-only database is degraded', async (t) => {
  const { url, query } = await createDatabase(t)
  const name = new URL(url).pathname.slice(1)
  const { call } = await startService(t, { settings: { DATABASE_URL: url } })
  await query(`alter database "${name}" set default_transaction_read_only = on`)
  await query('select pg_terminate_backend(pid) from pg_stat_activity where datname = $1 and pid <> pg_backend_pid()', [
    name,
  ])
  // A slow machine may find the database down for a moment: its connections were just closed.
  let answer = await call('/readyz')
  while (answer.status === 503) answer = await call('/readyz')
  t.match(answer, { status: 200 })
  t.match(answer.body, {
    status: 'degraded',
    checks: { database: { status: 'degraded', latencyMs: Number, reason: /^read-only/ } },
  })
})

test('keys that cannot be fetched are reported', async (t) => {
  const { call } = await startService(t, {
    change: (options) => ({ ...options, auth: { ...options.auth, issuer: 'http://127.0.0.1:9' } }),
  })
  t.match(await call('/readyz'), {
    status: 200,
    body: { status: 'degraded', checks: { jwks: { status: 'down', reason: String } } },
  })
})

test('keys that can no longer be fetched are reported, while the old ones are used', async (t) => {
  const { call, clerk } = await startService(t, {
    change: (options) => ({ ...options, auth: { ...options.auth, jwks: { refreshIntervalMs: 50 } } }),
  })
  while ((await call('/readyz')).body.checks.jwks.status !== 'ok');
  clerk.faults.jwks = 'error'
  let jwks: { status: string } | undefined
  while (jwks?.status !== 'degraded') jwks = (await call('/readyz')).body.checks.jwks
  t.match(jwks, { status: 'degraded', reason: /previous keys/ })
})

test('without secrets and with a fixed key there is nothing to check', async (t) => {
  const { publicKey } = generateKeyPairSync('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  })
  const { call } = await startService(t, {
    change: (options) => ({ ...options, webhooks: undefined, auth: { ...options.auth, jwtKey: publicKey } }),
  })
  t.match((await call('/readyz')).body.checks, {
    jwks: { status: 'ok', reason: /fixed key/ },
    webhooks: { status: 'disabled', reason: /no signing secret/ },
  })
  t.equal((await call('/clerk', { method: 'POST' })).status, 404)
})

test('an unreachable database is 503 down, a frozen one within its time limit; both recover by themselves', async (t) => {
  const database = await createDatabase(t)
  const proxy = await createTcpProxy(t, database.url)
  const { call } = await startService(t, { settings: { DATABASE_URL: proxy.url } })
  t.equal((await call('/readyz')).status, 200)

  await proxy.cut()
  const cut = await call('/readyz')
  t.match(cut, { status: 503, body: { status: 'down', checks: { database: { status: 'down', reason: String } } } })
  t.ok(cut.headers.get('retry-after'))
  t.equal((await call('/livez')).status, 200, 'the process serves')
  await proxy.restore()
  while ((await call('/readyz')).status !== 200);

  proxy.freeze()
  const startedAt = performance.now()
  const frozen = await Promise.all(Array.from({ length: 20 }, () => call('/readyz')))
  t.ok(frozen.every(({ status }) => status === 503))
  t.ok(performance.now() - startedAt < 3_500, 'probes do not queue up')
  await proxy.restore()
  while ((await call('/readyz')).status !== 200);
})

test('keys that are still being fetched are reported', async (t) => {
  const { call, clerk } = await startService(t, {
    change: (options) => ({ ...options, auth: { ...options.auth, jwks: { deadlineMs: 60_000 } } }),
    onEmulator: (emulator) => {
      emulator.faults.jwks = 'hang'
    },
  })
  t.match((await call('/readyz')).body.checks.jwks, { status: 'down', reason: 'not fetched yet' })
  clerk.faults.jwks = undefined
})

test('a draining replica reports it, and closes connections after their replies', async (t) => {
  const { app, call } = await startService(t)
  app.clerkStartDraining()
  const health = await call('/readyz')
  t.match(health, {
    status: 503,
    body: {
      status: 'down',
      checks: { database: { status: 'ok' }, replica: { status: 'down', reason: 'shutting down' } },
    },
  })
  t.equal((await call('/api/auth/profile')).status, 401, 'served as ever')
  t.equal(health.headers.get('connection'), 'close')
})
