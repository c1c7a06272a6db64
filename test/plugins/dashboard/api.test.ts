import { type Test, test } from 'tap'
import type { AppOptions } from '../../../src/app.ts'
import { type Service, type ServiceOptions, startService } from '../../helpers/service.ts'
import { createTcpProxy } from '../../helpers/tcp-proxy.ts'
import { waitUntil } from '../../helpers/wait-until.ts'

const TOKEN = 'a-token-of-the-operators'
const API = '/dashboard/api'
const JSON_TYPE = { 'content-type': 'application/json' }

/** A service whose dashboard has a token, which every call of its API sends. */
async function startOpen(t: Test, options: ServiceOptions = {}): Promise<Service> {
  const service = await startService(t, { ...options, settings: { DASHBOARD_TOKEN: TOKEN, ...options.settings } })
  const call: Service['call'] = (path, callOptions) =>
    service.call(path, { ...callOptions, ...(path.startsWith(API) && { token: TOKEN }) })
  return { ...service, call }
}

const post = ({ call }: Service, path: string, body: object, headers = {}) =>
  call(API + path, { method: 'POST', body: JSON.stringify(body), headers: { ...JSON_TYPE, ...headers } })

function deliver({ call, clerk }: Service, event: object, id: string) {
  const body = JSON.stringify(event)
  return call('/clerk', { method: 'POST', body, headers: { ...JSON_TYPE, ...clerk.sign(body, { id }) } })
}

test('with DASHBOARD_TOKEN set, the API refuses requests without it', async (t) => {
  const { call } = await startService(t, { settings: { DASHBOARD_TOKEN: TOKEN, CORS_ORIGINS: '*' } })
  for (const [method, path] of [
    ['GET', '/overview'],
    ['POST', '/failed-events/msg_1/replay'],
    ['POST', '/users/search'],
  ] as const) {
    for (const token of [undefined, '', 'x', `${TOKEN}x`, TOKEN.slice(1), TOKEN.toUpperCase()]) {
      const { status, body, headers } = await call(API + path, { method, token })
      t.match({ status, body }, { status: 401, body: { statusCode: 401, code: 'DASHBOARD_TOKEN_INVALID' } })
      // RFC 6750, section 3.1: nothing of an error where no token was sent.
      t.match(headers.get('www-authenticate'), token ? /^Bearer error="invalid_token", / : /^Bearer$/)
    }
    const basic = await call(API + path, { method, headers: { authorization: `Basic ${TOKEN}` } })
    t.equal(basic.status, 401)
    t.equal(basic.headers.get('www-authenticate'), 'Bearer')
  }
  const headers = { origin: 'https://evil.example' }
  const reply = await call(`${API}/overview`, { token: TOKEN, headers })
  t.equal(reply.status, 200)
  t.equal(reply.headers.get('access-control-allow-origin'), null, 'not for pages of other origins')
  t.equal(reply.headers.get('cache-control'), 'no-store')
})

test('without a token it is off in production', async (t) => {
  const { call } = await startService(t, { settings: { NODE_ENV: 'production' } })
  for (const path of ['/dashboard', '/dashboard/main.js', `${API}/overview`]) {
    t.match(await call(path), { status: 404, body: { code: 'NOT_FOUND' } })
  }
  const guarded = await startService(t, { settings: { NODE_ENV: 'production', DASHBOARD_TOKEN: TOKEN } })
  t.equal((await guarded.call('/dashboard')).status, 200)
  t.equal((await guarded.call(`${API}/overview`)).status, 401)
})

test('without a token there is no page and no API outside production either, even for local requests', async (t) => {
  const { app } = await startService(t)
  for (const url of ['/dashboard', `${API}/overview`]) {
    t.equal(
      (await app.inject({ url, remoteAddress: '127.0.0.1', headers: { host: 'localhost:3000' } })).statusCode,
      404,
    )
  }
  const guarded = await startService(t, { settings: { DASHBOARD_TOKEN: TOKEN, TRUST_PROXY: 'true' } })
  const attempts: Record<string, string>[] = [
    { host: 'localhost:3000' },
    { host: '127.0.0.1', 'x-forwarded-for': '203.0.113.9' },
    { host: 'evil.example', 'x-forwarded-host': 'localhost', 'x-forwarded-for': '127.0.0.1' },
  ]
  for (const headers of attempts) {
    const { statusCode } = await guarded.app.inject({ url: `${API}/overview`, remoteAddress: '127.0.0.1', headers })
    t.equal(statusCode, 401, JSON.stringify(headers))
  }
})

test('the figures are those of real webhooks and tokens', async (t) => {
  const service = await startOpen(t)
  const { clerk, call } = service
  const ada = clerk.createUser({ email: 'ada@example.com' })
  clerk.createUser({ email: 'grace@example.com' })
  await clerk.webhooks.idle()
  const at = Date.now()
  await deliver(service, { type: 'user.updated', timestamp: at, data: { id: ada.id, updated_at: 1 } }, 'msg_stale')
  await deliver(service, { type: 'user.updated', data: {} }, 'msg_failed')
  await deliver(service, { type: 'made.up', data: {} }, 'msg_ignored')
  await call('/api/auth/profile')
  await call('/api/auth/profile', { token: clerk.sessionToken(clerk.signIn(ada.id).id) })
  const { status, body } = await call(`${API}/overview`)
  t.equal(status, 200)
  t.match(body, { range: '1h', stepSeconds: 60, isComplete: true, tables: { users: 2, failedEvents: 1 } })
  t.equal(body.buckets.length, 60)
  const sum = (name: string) => body.buckets.reduce((total: number, bucket: never) => total + bucket[name], 0)
  const auth = Object.assign({}, ...body.buckets.map((bucket: { auth: object }) => bucket.auth))
  t.match(auth, { MISSING_TOKEN: 1, OK: 1 })
  t.ok(sum('applied') >= 2)
  t.ok(sum('stale') >= 1)
  t.equal(sum('failed'), 1)
  t.equal(sum('ignored'), 1)
  t.equal(sum('usersCreated'), 2)
  t.ok(body.buckets.some((bucket: { delayMedianSeconds: number | null }) => bucket.delayMedianSeconds !== null))
  const last = new Map<string, object>(body.lastByType.map((one: { type: string }) => [one.type, one]))
  t.match(last.get('user.created'), { messages: 2, lastOutcome: 'applied' })
  t.match(last.get('session.revoked'), { messages: 0, lastReceivedAt: null, lastOutcome: null })
  t.match(body.failedEvents, [{ id: 'msg_failed', type: 'user.updated', attempts: 1, isReplayable: true, error: /./ }])
  t.notMatch(body.failedEvents[0], { payload: /./ }, 'no body, which holds personal data')
  for (const [range, buckets] of [
    ['6h', 72],
    ['24h', 96],
  ] as const) {
    t.equal((await call(`${API}/overview?range=${range}`)).body.buckets.length, buckets)
  }
  t.equal((await call(`${API}/overview?range=1y`)).status, 400)
})

test('a failed event is applied by its replay, once', async (t) => {
  const service = await startOpen(t)
  const { database } = service
  await database.query(`create function refuse() returns trigger as 'begin raise ''no''; end' language plpgsql`)
  await database.query('create trigger refuse before insert on users for each row execute function refuse()')
  const now = Date.now()
  await deliver(service, { type: 'user.created', timestamp: now, data: { id: 'user_ada', updated_at: now } }, 'msg_1')
  const path = '/failed-events/msg_1/replay'
  t.match(await post(service, path, {}), { status: 200, body: { outcome: 'failed', error: /no/ } })
  await database.query('drop trigger refuse on users')
  t.equal((await service.call(API + path, { method: 'POST' })).status, 400, 'without a body')
  const form = await service.call(API + path, { method: 'POST', body: '{}', headers: { 'content-type': 'text/plain' } })
  t.equal(form.status, 415, 'nor as a form of another site would send it')
  t.strictSame((await post(service, path, {})).body, { id: 'msg_1', outcome: 'applied' })
  t.strictSame(await database.query('select id from users'), [{ id: 'user_ada' }])
  t.match(await post(service, path, {}), { status: 404, body: { code: 'FAILED_EVENT_NOT_FOUND' } })
})

test('a user is found by id and by exact address, whatever is typed', async (t) => {
  const service = await startOpen(t)
  const { clerk } = service
  const ada = clerk.createUser({ email: 'ada@example.com', firstName: 'Ada' })
  clerk.signIn(ada.id)
  await clerk.webhooks.idle()
  for (const query of [ada.id, 'ada@example.com', 'Ada@Example.com']) {
    const { body } = await post(service, '/users/search', { query })
    t.match(body, {
      users: [{ id: ada.id, email: 'ada@example.com', name: 'Ada', isBanned: false, deletedAt: null }],
      sessions: [{ userId: ada.id, status: 'active' }],
    })
    t.ok(body.events.length >= 2, 'of the user and the session')
  }
  for (const query of ['ada', 'ada@', '%', "' or true --", '\ud800']) {
    t.strictSame((await post(service, '/users/search', { query })).body, {
      users: [],
      sessions: [],
      memberships: [],
      events: [],
    })
  }
  for (const query of ['', '\0', 'x'.repeat(321)])
    t.equal((await post(service, '/users/search', { query })).status, 400)
})

test('while the database is down the API says so', async (t) => {
  const real = await startOpen(t)
  const proxy = await createTcpProxy(t, real.database.url)
  const service = await startOpen(t, { beside: real, settings: { DATABASE_URL: proxy.url } })
  await proxy.cut()
  const unavailable = { status: 503, body: { code: 'DATABASE_UNAVAILABLE' } }
  t.match(await service.call(`${API}/overview`), unavailable)
  t.match(await post(service, '/users/search', { query: 'user_1' }), unavailable)
  t.match(await post(service, '/failed-events/msg_1/replay', {}), unavailable)
})

test('the page contains no data and no inline code, and loads nothing from other hosts', async (t) => {
  const { call } = await startOpen(t, { settings: { DASHBOARD_TOKEN: TOKEN } })
  const { status, headers, body } = await call('/dashboard')
  t.equal(status, 200)
  t.equal(headers.get('content-type'), 'text/html; charset=utf-8')
  t.equal(
    headers.get('content-security-policy'),
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
  )
  t.equal(headers.get('x-content-type-options'), 'nosniff')
  t.notMatch(body, /<style|style=|<script>|\son\w+=|(src|href)="https?:/)
  for (const [, path = ''] of body.matchAll(/(?:src|href)="(dashboard\/[^"]+)"/g)) {
    const file = await call(`/${path}`)
    t.equal(file.status, 200, path)
    t.match(file.headers.get('content-type'), path.endsWith('.js') ? /^text\/javascript/ : /^text\/css/)
  }
})

test('the description has the API with its token', async (t) => {
  const { call } = await startOpen(t)
  const { paths } = (await call('/docs/json')).body
  for (const [path, method, codes] of [
    ['/overview', 'get', ['200', '401', '500', '503']],
    ['/failed-events/{id}/replay', 'post', ['200', '401', '404', '500', '503']],
    ['/users/search', 'post', ['200', '401', '500', '503']],
  ] as const) {
    const { responses, security } = paths[API + path][method]
    t.strictSame(Object.keys(responses).sort(), codes)
    t.strictSame(security, [{ dashboardToken: [] }])
  }
})

const shareFor = (freshMs: number) => (options: AppOptions) => ({ ...options, dashboard: { token: TOKEN, freshMs } })

test('open pages share the data, and show a replay at once', async (t) => {
  const service = await startOpen(t, { change: shareFor(600_000) })
  const failed = async () =>
    (await service.call(`${API}/overview`)).body.failedEvents.map(({ id }: { id: string }) => id)
  await deliver(service, { type: 'user.updated', data: {} }, 'msg_1')
  t.strictSame(await Promise.all([failed(), failed()]), [['msg_1'], ['msg_1']])
  await deliver(service, { type: 'user.updated', data: {} }, 'msg_2')
  t.strictSame(await failed(), ['msg_1'])
  const { body } = await service.call(`${API}/overview?range=6h`)
  t.equal(body.failedEvents.length, 2, 'each range has its own')
  await post(service, '/failed-events/msg_1/replay', {})
  t.strictSame((await failed()).toSorted(), ['msg_1', 'msg_2'])
  await service.database.query(`delete from webhook_events where id = 'msg_2'`)
  t.equal((await post(service, '/failed-events/msg_2/replay', {})).status, 404)
  t.strictSame(await failed(), ['msg_1'], 'also when it was gone already')
  await service.call('/api/auth/profile')
  const again = await service.call(`${API}/overview`)
  t.match(Object.assign({}, ...again.body.buckets.map(({ auth }: { auth: object }) => auth)), { MISSING_TOKEN: 1 })
})

test('data are shared for a short time, and errors are not shared', async (t) => {
  const old = await startOpen(t, { change: shareFor(0) })
  t.equal((await old.call(`${API}/overview`)).body.tables.users, 0)
  old.clerk.createUser()
  await old.clerk.webhooks.idle()
  t.equal((await old.call(`${API}/overview`)).body.tables.users, 1)
  const proxy = await createTcpProxy(t, old.database.url)
  const kept = await startOpen(t, {
    beside: old,
    settings: { DATABASE_URL: proxy.url },
    change: shareFor(600_000),
  })
  await proxy.cut()
  t.equal((await kept.call(`${API}/overview`)).status, 503)
  await proxy.restore()
  await waitUntil('the figures', async () => (await kept.call(`${API}/overview`)).status === 200)
})
