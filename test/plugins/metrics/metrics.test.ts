import { test } from 'tap'
import * as errors from '../../../src/errors.ts'
import { EVENT_TYPES } from '../../../src/resources/index.ts'
import { freePorts, runNode } from '../../helpers/process.ts'
import { asksEveryTime, type Service, startService } from '../../helpers/service.ts'
import { createTcpProxy } from '../../helpers/tcp-proxy.ts'
import { waitUntil } from '../../helpers/wait-until.ts'

/** The value of one series; undefined where there is none. */
async function read({ call }: Service, series: string): Promise<number | undefined> {
  const { body } = await call('/metrics')
  const line = String(body)
    .split('\n')
    .find((text) => text.startsWith(`clerk_session_sync_${series} `))
  return line === undefined ? undefined : Number(line.slice(line.lastIndexOf(' ')))
}

const duration = (labels: string) => `http_request_duration_seconds_count{${labels}}`

/** Asks until a count is there: an answer arrives before its request is counted. */
const counted = (service: Service, series: string, value: number) =>
  waitUntil(`${series} ${value}`, async () => (await read(service, series)) === value)

test('requests are counted by the pattern of their route, tokens by their result', async (t) => {
  const service = await startService(t, { settings: { AUTO_SYNC: 'false' } })
  const { call, clerk } = service
  clerk.webhooks.url = undefined
  const ada = clerk.createUser({ email: 'ada@example.com' })
  const token = clerk.sessionToken(clerk.signIn(ada.id).id)
  await call('/api/auth/profile')
  await call('/api/auth/profile', { token: 'nonsense' })
  await call('/api/auth/profile', { token })
  await call('/api/auth/sync-user', { method: 'POST', token })
  await call('/api/auth/profile', { token })
  await call('/api/auth/verify/of/user_ada', { token })
  await call('/api/auth/verify?role=org:admin', { token })
  await call('/nowhere/at/all', { method: 'PURGE' })
  await counted(service, duration('method="GET",route="/api/auth/profile",status="401"'), 3)
  await counted(service, duration('method="GET",route="/api/auth/profile",status="200"'), 1)
  await counted(service, duration('method="POST",route="/api/auth/sync-user",status="201"'), 1)
  await counted(service, duration('method="GET",route="/api/auth/verify/*",status="200"'), 1)
  await counted(service, duration('method="ANY",route="none",status="404"'), 1)
  for (const [code, count] of [
    ['OK', 3],
    ['MISSING_TOKEN', 1],
    ['INVALID_TOKEN', 1],
    ['USER_NOT_SYNCED', 1],
    ['FORBIDDEN', 1],
    ['TOKEN_EXPIRED', 0],
  ] as const) {
    await counted(service, `auth_results_total{code="${code}"}`, count)
  }
  t.equal(await read(service, 'syncs_total{source="clerk_api",result="created"}'), 1)
  t.equal(await read(service, 'clerk_api_requests_total{status="200"}'), 1)
  t.ok(((await read(service, 'database_batch_size_count{kind="read"}')) ?? 0) >= 3)
  t.ok(((await read(service, 'database_batch_size_count{kind="write"}')) ?? 0) >= 1)
})

test('syncs and calls of the Backend API are counted by their results', async (t) => {
  const service = await startService(t, {
    ...asksEveryTime,
    onEmulator: (clerk) => clerk.webhooks.dropNext(100),
    settings: { CLERK_API_BUDGET: '5' },
  })
  const { call, clerk } = service
  const token = () => clerk.sessionToken(clerk.signIn(clerk.createUser({}).id).id)
  const ada = token()
  await call('/api/auth/sync-user', { method: 'POST', token: ada })
  await call('/api/auth/sync-user', { method: 'POST', token: ada })
  clerk.faults.api = { status: 500 }
  await call('/api/auth/sync-user', { method: 'POST', token: ada })
  await call('/api/auth/profile', { token: token() })
  t.equal(await read(service, 'syncs_total{source="clerk_api",result="updated"}'), 1)
  t.equal(await read(service, 'syncs_total{source="database",result="unchanged"}'), 1)
  t.equal(await read(service, 'syncs_total{source="session_claims",result="created"}'), 1)
  t.equal(await read(service, 'clerk_api_requests_total{status="500"}'), 2)
  clerk.faults.api = { status: 404 }
  await call('/api/auth/sync-user', { method: 'POST', token: ada })
  t.equal(await read(service, 'clerk_api_requests_total{status="404"}'), 1)
  t.equal(await read(service, 'clerk_api_skipped_total{reason="budget"}'), 0)
  await call('/api/auth/profile', { token: token() })
  t.equal(await read(service, 'clerk_api_skipped_total{reason="budget"}'), 1, 'the sixth is beyond the budget')
})

test('counters with known labels start at 0, so that the first event is an increase', async (t) => {
  const service = await startService(t)
  const { body } = await service.call('/metrics')
  const series = (name: string) => String(body).match(new RegExp(`^clerk_session_sync_${name}{.*} 0$`, 'gm')) ?? []
  const types = [...EVENT_TYPES, 'other']
  t.equal(series('webhook_deliveries_total').length, types.length * 5)
  for (const type of types) {
    for (const outcome of ['applied', 'duplicate', 'stale', 'ignored', 'failed']) {
      t.match(body, `clerk_session_sync_webhook_deliveries_total{type="${type}",outcome="${outcome}"} 0\n`)
    }
  }
  t.equal(series('webhook_verification_failures_total').length, 2)
  t.equal(series('syncs_total').length, 5)
  // Otherwise a refusal would count as OK, because its token was good.
  const refusals = Object.values(errors).flatMap((value) => {
    if (typeof value !== 'function' || !(value.prototype instanceof Error)) return []
    const { statusCode, code } = new (value as new () => { statusCode: number; code: string })()
    return [401, 403].includes(statusCode) && !/^(CHANGES|DASHBOARD)_TOKEN_INVALID$/.test(code) ? code : []
  })
  t.ok(refusals.length > 10)
  for (const code of refusals) t.match(body, `clerk_session_sync_auth_results_total{code="${code}"} 0\n`, code)
})

test('webhooks are counted by type and outcome, unhandled types as other', async (t) => {
  const service = await startService(t)
  const { call, clerk, database } = service
  const deliver = (event: object, id: string) => {
    const body = JSON.stringify(event)
    return call('/clerk', {
      method: 'POST',
      body,
      headers: { 'content-type': 'application/json', ...clerk.sign(body, { id }) },
    })
  }
  const deliveries = (type: string, outcome: string) =>
    read(service, `webhook_deliveries_total{type="${type}",outcome="${outcome}"}`)
  const ada = { type: 'user.updated', timestamp: Date.now() - 2_000, data: { id: 'user_ada', updated_at: Date.now() } }
  t.equal(await read(service, 'webhook_last_received_timestamp_seconds'), undefined, 'none before the first')
  await deliver(ada, 'msg_1')
  await deliver(ada, 'msg_1')
  await deliver({ type: 'made.up', data: {} }, 'msg_2')
  await deliver({ type: 'made.up.too', data: {} }, 'msg_3')
  await deliver({ type: 'user.updated', data: {} }, 'msg_4')
  await database.query(`create function refuse() returns trigger as 'begin raise ''no''; end' language plpgsql`)
  await database.query('create trigger refuse before update on users for each row execute function refuse()')
  await deliver({ ...ada, data: { ...ada.data, updated_at: Date.now() + 1, first_name: 'Ada' } }, 'msg_5')
  await call('/clerk', { method: 'POST' })
  await call('/clerk', {
    method: 'POST',
    body: '{}',
    headers: { 'content-type': 'application/json', ...clerk.sign('another body') },
  })
  t.equal(await deliveries('user.updated', 'applied'), 1)
  t.equal(await deliveries('user.updated', 'duplicate'), 1)
  t.equal(await deliveries('user.updated', 'failed'), 2)
  t.equal(await deliveries('other', 'ignored'), 2)
  t.equal(await read(service, 'webhook_event_delay_seconds_count'), 1)
  t.ok(((await read(service, 'webhook_event_delay_seconds_sum')) ?? 0) >= 2)
  t.equal(await read(service, 'webhook_verification_failures_total{reason="headers_missing"}'), 1)
  t.equal(await read(service, 'webhook_verification_failures_total{reason="signature_invalid"}'), 1)
})

test('tables, keys and pool are reported', async (t) => {
  const service = await startService(t)
  const { call, clerk, database } = service
  await database.query(`insert into users (id, sync_source) values ('user_1', 'webhook')`)
  const receivedAt = Math.floor(Date.now() / 1000)
  await database.query(
    `insert into webhook_events (id, type, outcome, received_at) values ('msg_1', 'user.updated', 'failed', $1)`,
    [new Date(receivedAt * 1000)],
  )
  await waitUntil('the keys', async () => (await read(service, 'jwks_keys')) === clerk.stats.jwksRequests)
  const { body, headers } = await call('/metrics')
  t.equal(headers.get('content-type'), 'text/plain; version=0.0.4; charset=utf-8')
  t.match(body, /^clerk_session_sync_build_info\{version="\d+\.\d+\.\d+",node="v\d+.*"\} 1$/m)
  t.match(body, /^clerk_session_sync_users 1$/m)
  t.match(body, /^clerk_session_sync_sessions 0$/m)
  t.match(body, /^clerk_session_sync_webhook_failed_events 1$/m)
  t.match(body, new RegExp(`^clerk_session_sync_webhook_last_received_timestamp_seconds ${receivedAt}$`, 'm'))
  t.match(body, /^clerk_session_sync_jwks_age_seconds [\d.]+$/m)
  t.match(body, /^clerk_session_sync_jwks_fetches_total 1$/m)
  t.match(body, /^clerk_session_sync_jwks_fetch_failures_total 0$/m)
  t.match(body, /^clerk_session_sync_database_pool_connections\{state="in_use"\} \d+$/m)
  t.match(body, /^clerk_session_sync_database_pool_connections\{state="idle"\} [1-9]/m)
  t.match(body, /^process_cpu_seconds_total /m)
  t.match(body, /^nodejs_active_resources\{type="TCPSocketWrap"\} [1-9]/m)
  t.notMatch(body, /^nodejs_active_(handles|requests|\w+_total)/m, 'nor any of that twice')
})

test('large tables are estimated, and never counted', async (t) => {
  const service = await startService(t)
  await service.database.query(
    `insert into users (id, sync_source) select 'user_' || n, 'webhook' from generate_series(1, 5000) n`,
  )
  await service.database.query('analyze users')
  t.equal(await read(service, 'users'), 5_000)
})

test('while the database hangs or is down, a scrape leaves out its values', async (t) => {
  const real = await startService(t)
  const proxy = await createTcpProxy(t, real.database.url)
  const service = await startService(t, { beside: real, settings: { DATABASE_URL: proxy.url } })
  proxy.freeze()
  // Whoever waits for the database learns of it later than the scrape that came after.
  const givenUp = service.app.clerkRepository.ledgerSummary().catch(() => 'given up')
  t.equal(await Promise.race([read(service, 'users'), givenUp]), undefined)
  t.ok((await read(service, 'database_pool_waiting')) !== undefined)
  await proxy.cut()
  t.equal(await read(service, 'users'), undefined)
})

test('keys that were never fetched have no age, a fixed key has no metrics', async (t) => {
  const down = await startService(t, {
    onEmulator: (clerk) => {
      clerk.faults.jwks = { status: 500 }
    },
  })
  await waitUntil('a failure', async () => ((await read(down, 'jwks_fetch_failures_total')) ?? 0) > 0)
  t.equal(await read(down, 'jwks_age_seconds'), undefined)
  t.equal(await read(down, 'jwks_keys'), 0)
  const fixed = await startService(t, {
    beside: down,
    change: (options) => ({ ...options, auth: { ...options.auth, jwtKey: down.clerk.jwtKey } }),
  })
  t.equal(await read(fixed, 'jwks_keys'), undefined)
  t.equal(await read(fixed, 'build_info'), undefined, 'it has labels')
})

test('replicas in one process count their own events', async (t) => {
  const one = await startService(t)
  const two = await startService(t, { beside: one })
  one.clerk.createUser({ email: 'ada@example.com' })
  await one.clerk.webhooks.idle()
  const series = 'webhook_deliveries_total{type="user.created",outcome="applied"}'
  t.equal(await read(one, series), 1)
  t.equal(await read(two, series), 0)
})

test('on a separate port the metrics are not a route of the service, and the port closes with it', async (t) => {
  const port = await freePorts()
  const { app, call } = await startService(t, { settings: { METRICS_PORT: String(port) } })
  t.equal((await call('/metrics')).status, 404)
  const own = (path: string, init?: RequestInit) => fetch(`http://127.0.0.1:${port}${path}`, init)
  const reply = await own('/metrics?x')
  t.equal(reply.status, 200)
  t.equal(reply.headers.get('content-type'), 'text/plain; version=0.0.4; charset=utf-8')
  t.match(await reply.text(), /^clerk_session_sync_users 0$/m)
  t.equal((await own('/')).status, 404)
  t.equal((await own('/metrics', { method: 'POST' })).status, 404)
  await app.close()
  await t.rejects(own('/metrics'))
})

test('a port for the metrics that is in use is a clear message', async (t) => {
  const { database, clerk, url } = await startService(t)
  const { port } = new URL(url)
  const server = runNode(t, ['src/server.ts'], {
    NODE_ENV: 'test',
    PORT: '0',
    METRICS_PORT: port,
    DATABASE_URL: database.url,
    CLERK_ISSUER: clerk.issuer,
  })
  t.equal(await server.exit, 1)
  t.match(server.output(), new RegExp(`127\\.0\\.0\\.1:${port} is in use: .*METRICS_PORT`))
})
