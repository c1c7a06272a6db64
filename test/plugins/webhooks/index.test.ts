import Fastify from 'fastify'
import pg from 'pg'
import { test } from 'tap'
import clerkDatabase from '../../../src/plugins/database.ts'
import clerkWebhooks from '../../../src/plugins/webhooks/index.ts'
import { createDatabase } from '../../helpers/database.ts'
import { keptLogger } from '../../helpers/run-log.ts'
import { type Reply, type Service, startService } from '../../helpers/service.ts'
import { createTcpProxy } from '../../helpers/tcp-proxy.ts'

const NEW_SECRET = `whsec_${Buffer.from('a new secret of 24 bytes').toString('base64')}`

const event = (overrides: object = {}) =>
  JSON.stringify({
    object: 'event',
    type: 'user.updated',
    timestamp: Date.now(),
    data: { id: 'user_ada', first_name: 'Ada', updated_at: Date.now(), email_addresses: [] },
    ...overrides,
  })

/** Posts a body signed as it is, with its headers changed by hand where a test wants that. */
function deliver(
  { call, clerk }: Service,
  body: string,
  {
    headers = {},
    ...signing
  }: { headers?: Record<string, string | undefined> } & Parameters<typeof clerk.sign>[1] = {},
): Promise<Reply> {
  const all = { 'content-type': 'application/json', ...clerk.sign(body, signing), ...headers }
  const given = Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)) as Record<
    string,
    string
  >
  return call('/clerk', { method: 'POST', body, headers: given })
}

test('a delivery is applied once, and its row is stored before the answer', async (t) => {
  const service = await startService(t)
  const body = event()
  t.match(await deliver(service, body, { id: 'msg_1' }), { status: 200, body: { received: true, outcome: 'applied' } })
  t.match(await service.database.query('select * from users'), [
    { id: 'user_ada', first_name: 'Ada', sync_source: 'webhook' },
  ])
  t.match(await deliver(service, body, { id: 'msg_1' }), { status: 200, body: { outcome: 'duplicate' } })
  t.match(await deliver(service, event({ data: { id: 'user_ada', updated_at: 1_700_000_000_000 } }), { id: 'msg_2' }), {
    status: 200,
    body: { outcome: 'stale' },
  })
  t.match(await deliver(service, event({ type: 'permission.created' }), { id: 'msg_3' }), {
    status: 200,
    body: { outcome: 'ignored' },
  })
  const ledger = await service.database.query('select * from webhook_events order by id')
  t.match(ledger, [
    { id: 'msg_1', outcome: 'applied', attempts: 2, object_id: 'user_ada', payload: null },
    { id: 'msg_2', outcome: 'stale', attempts: 1 },
    { id: 'msg_3', outcome: 'ignored', type: 'permission.created', payload: null },
  ])
})

test('an unsigned delivery is refused before it is parsed', async (t) => {
  const service = await startService(t)
  const refused = async (name: string, code: string, body: string, options: Parameters<typeof deliver>[2]) => {
    const reply = await deliver(service, body, options)
    t.match(reply, { status: 400, body: { statusCode: 400, code, error: 'Bad Request' } }, name)
  }
  for (const name of ['svix-id', 'svix-timestamp', 'svix-signature']) {
    await refused(`without ${name}`, 'WEBHOOK_HEADERS_MISSING', event(), { headers: { [name]: undefined } })
  }
  await refused('another id', 'WEBHOOK_SIGNATURE_INVALID', event(), { headers: { 'svix-id': 'msg_other' } })
  await refused('an id without end', 'WEBHOOK_SIGNATURE_INVALID', event(), { id: 'm'.repeat(256) })
  await refused('another secret', 'WEBHOOK_SIGNATURE_INVALID', event(), { secret: NEW_SECRET })
  await refused('no version', 'WEBHOOK_SIGNATURE_INVALID', event(), { headers: { 'svix-signature': 'abc' } })
  const now = Math.floor(Date.now() / 1000)
  await refused('six minutes old', 'WEBHOOK_SIGNATURE_INVALID', event(), { timestampSeconds: now - 360 })
  await refused('six minutes ahead', 'WEBHOOK_SIGNATURE_INVALID', event(), { timestampSeconds: now + 360 })
  await refused('not a time', 'WEBHOOK_SIGNATURE_INVALID', event(), { headers: { 'svix-timestamp': 'today' } })
  await refused('not JSON, and not signed', 'WEBHOOK_SIGNATURE_INVALID', '{', {
    headers: { 'svix-signature': 'v1,AAAA' },
  })
  await refused('an empty body', 'WEBHOOK_SIGNATURE_INVALID', '', { headers: { 'svix-signature': 'v1,AAAA' } })
  t.strictSame(await service.database.query('select * from webhook_events'), [], 'nothing of it is kept')
})

test('the signature is verified over the raw bytes', async (t) => {
  const service = await startService(t)
  const odd = `{ "type":"user.updated",\n "timestamp": ${Date.now()}.0, "data": {"id":"user_\\u0061da", "updated_at": 1.7e12, "first_name":"\\u00e9\\/"} }`
  t.match(await deliver(service, odd), { status: 200, body: { outcome: 'applied' } })
  t.match(await service.database.query('select * from users'), [{ id: 'user_ada', first_name: 'é/' }])
  t.match(await deliver(service, `${odd} `, { headers: service.clerk.sign(odd) as never }), { status: 400 })
})

test('headers may be named webhook-*, and any of the secrets may have signed', async (t) => {
  const service = await startService(t, {
    change: (options) => ({ ...options, webhooks: { signingSecrets: [NEW_SECRET, 'whsec_b2xkb2xkb2xkb2xkb2xkb2xk'] } }),
  })
  const body = event()
  const signed = service.clerk.sign(body, { secret: 'whsec_b2xkb2xkb2xkb2xkb2xkb2xk' }) as unknown as Record<
    string,
    string
  >
  const renamed = Object.fromEntries(
    Object.entries(signed).map(([name, value]) => [name.replace('svix-', 'webhook-'), value]),
  )
  const reply = await service.call('/clerk', {
    method: 'POST',
    body,
    headers: { 'content-type': 'application/json; charset=utf-8', ...renamed },
  })
  t.match(reply, { status: 200, body: { outcome: 'applied' } })
  t.match(await deliver(service, event(), { secret: NEW_SECRET }), { status: 200 })
  t.match(await deliver(service, event()), { status: 400 }, 'a secret that is not configured any more')
})

test('a signed delivery that cannot be used is 422, and stored for a replay', async (t) => {
  const service = await startService(t)
  const bad: [name: string, body: string, error: RegExp][] = [
    ['not JSON', '{"type": "user.updated", "data": "hunter2', /not JSON/],
    ['null', 'null', /expected object/i],
    ['no type', event({ type: undefined }), /\/type/],
    ['type a number', event({ type: 7 }), /\/type/],
    ['no data', event({ data: undefined }), /\/data/],
    ['data null', event({ data: null }), /\/data/],
    ['id a number', event({ data: { id: 7 } }), /\/data\/id/],
    [
      'a time that is a text, not coerced',
      event({ data: { id: 'user_a', updated_at: '1700000000000' } }),
      /updated_at/,
    ],
    ['a name that is a number, not coerced', event({ data: { id: 'user_a', first_name: 1 } }), /first_name/],
    ['a session without a user', event({ type: 'session.created', data: { id: 'sess_1' } }), /user_id/],
    ['dated two days ahead', event({ data: { id: 'user_a', updated_at: Date.now() + 172_800_000 } }), /day ahead/],
    ['an envelope from the future', event({ timestamp: Date.now() + 172_800_000 }), /day ahead/],
  ]
  for (const [index, [name, body, error]] of bad.entries()) {
    for (const attempt of [1, 2]) {
      const reply = await deliver(service, body, { id: `msg_${index}` })
      t.match(reply, { status: 422, body: { code: 'WEBHOOK_PAYLOAD_INVALID' } }, `${name}, attempt ${attempt}`)
      t.notMatch(reply.body.message, /hunter2/)
      const [row] = await service.database.query('select * from webhook_events where id = $1', [`msg_${index}`])
      t.match(row, { outcome: 'failed', error, attempts: attempt, payload: body })
    }
  }
  t.strictSame(await service.database.query('select * from users'), [])
})

test('a failed message is applied once that is possible', async (t) => {
  const service = await startService(t)
  await service.database.query(`alter table users add constraint no_ada check (first_name <> 'Ada')`)
  t.match(await deliver(service, event(), { id: 'msg_1' }), { status: 500, body: { code: 'INTERNAL_SERVER_ERROR' } })
  t.match(await service.database.query('select * from webhook_events'), [{ outcome: 'failed', error: /^23514: / }])
  await service.database.query('alter table users drop constraint no_ada')
  t.match(await deliver(service, event(), { id: 'msg_1' }), { status: 200, body: { outcome: 'applied' } })
  t.match(await service.database.query('select * from webhook_events'), [
    { outcome: 'applied', attempts: 2, error: null, payload: null },
  ])
})

test('payloads are kept with WEBHOOK_STORE_PAYLOADS', async (t) => {
  const service = await startService(t, { settings: { WEBHOOK_STORE_PAYLOADS: 'true' } })
  const body = event()
  await deliver(service, body)
  t.match(await service.database.query('select * from webhook_events'), [{ outcome: 'applied', payload: body }])
})

test('a body that is too large or not JSON is refused like Fastify does', async (t) => {
  const service = await startService(t)
  t.match(await deliver(service, event({ padding: 'x'.repeat(1_048_576) })), {
    status: 413,
    body: { code: 'FST_ERR_CTP_BODY_TOO_LARGE' },
  })
  t.match(await deliver(service, event(), { headers: { 'content-type': 'text/plain' } }), {
    status: 415,
    body: { code: 'FST_ERR_CTP_INVALID_MEDIA_TYPE' },
  })
  t.equal((await service.call('/clerk')).status, 404, 'only POST')
})

test('nothing is acknowledged while the database is unreachable', async (t) => {
  const database = await createDatabase(t)
  const proxy = await createTcpProxy(t, database.url)
  const service = await startService(t, { settings: { DATABASE_URL: proxy.url }, beside: undefined })
  await proxy.cut()
  for (const body of [event(), 'null']) {
    const reply = await deliver(service, body, { id: 'msg_1' })
    t.match(reply, { status: 503, body: { code: 'DATABASE_UNAVAILABLE' } })
    t.ok(Number(reply.headers.get('retry-after')) >= 1)
  }
  await proxy.restore()
  t.match(await deliver(service, event(), { id: 'msg_1' }), { status: 200, body: { outcome: 'applied' } })
})

test('each delivery is one line in the log, whatever its outcome', async (t) => {
  const lines: { level: number; msg: string }[] = []
  const database = await createDatabase(t)
  const proxy = await createTcpProxy(t, database.url)
  const service = await startService(t, {
    settings: { DATABASE_URL: proxy.url },
    log: (line) => lines.push(JSON.parse(line)),
  })
  await database.query(`alter table users add constraint no_ada check (first_name <> 'Ada')`)
  const grace = event({ data: { id: 'user_grace', updated_at: Date.now() } })
  await deliver(service, grace, { id: 'msg_applied' })
  await deliver(service, event(), { id: 'msg_failed' })
  await deliver(service, event({ data: { id: 'user_eve', updated_at: 'when' } }), { id: 'msg_unusable' })
  await proxy.cut()
  await deliver(service, grace, { id: 'msg_refused' })
  await proxy.restore()
  const about = (svixId: string, objectId: string, outcome: string, level: number) => {
    return { svixId, objectId, outcome, level, type: 'user.updated', reqId: /./, durationMs: Number }
  }
  const webhooks = lines.filter(({ msg }) => msg === 'webhook')
  t.match(webhooks, [
    { ...about('msg_applied', 'user_grace', 'applied', 30), userId: 'user_grace' },
    { ...about('msg_failed', 'user_ada', 'failed', 40), userId: 'user_ada' },
    { ...about('msg_unusable', 'user_eve', 'failed', 40), reason: /^\/data\/updated_at: / },
    { ...about('msg_refused', 'user_grace', 'refused', 30), userId: 'user_grace' },
  ])
  t.equal(webhooks.length, 4)
})

test('the plugin can be registered alone in any Fastify app', async (t) => {
  const { url } = await createDatabase(t)
  const app = Fastify(keptLogger())
  t.teardown(() => app.close())
  await app.register(clerkDatabase, { connectionString: url })
  await app.register(clerkWebhooks, { signingSecrets: [NEW_SECRET], path: '/hooks/clerk' })
  app.post('/echo', async (request) => request.body)
  t.equal((await app.inject({ method: 'POST', url: '/hooks/clerk', payload: {} })).statusCode, 400)
  t.strictSame(
    (await app.inject({ method: 'POST', url: '/echo', payload: { a: 1 } })).json(),
    { a: 1 },
    'other routes keep their parsers',
  )
  await t.rejects(async () => Fastify().register(clerkWebhooks, { signingSecrets: [NEW_SECRET] }), {
    code: 'FST_ERR_PLUGIN_DEPENDENCY_NOT_REGISTERED',
  } as never)
})

test('a slash at the end of the address loses no event', async (t) => {
  const { call, clerk } = await startService(t)
  const body = event()
  const headers = { 'content-type': 'application/json', ...clerk.sign(body) }
  for (const path of ['/clerk/', '/clerk']) {
    t.match(await call(path, { method: 'POST', body, headers }), { status: 200, body: { received: true } }, path)
  }
})

test('a request without a body is refused, and is not a 500', async (t) => {
  const { call, clerk } = await startService(t)
  const headers = { ...clerk.sign('something') } as Record<string, string>
  t.match(await call('/clerk', { method: 'POST', headers }), {
    status: 400,
    body: { code: 'WEBHOOK_SIGNATURE_INVALID' },
  })
  t.match(await call('/clerk', { method: 'POST' }), { status: 400, body: { code: 'WEBHOOK_HEADERS_MISSING' } })
})

test('other types are ignored, whatever their data', async (t) => {
  const service = await startService(t)
  for (const data of [undefined, null, 'text', [1], { id: 7 }]) {
    t.match(await deliver(service, event({ type: 'x.y', data })), { status: 200, body: { outcome: 'ignored' } })
  }
})

test('a bug is a 500, and not reported as a bad payload', async (t) => {
  const service = await startService(t)
  service.app.clerkRepository.apply = () => Promise.reject(new TypeError('a bug'))
  t.match(await deliver(service, event()), { status: 500, body: { code: 'INTERNAL_SERVER_ERROR' } })
  t.strictSame(await service.database.query('select * from webhook_events'), [])
})

test('a locked row delays its own event, and others only briefly', async (t) => {
  const service = await startService(t)
  await deliver(service, event())
  const client = new pg.Client(service.database.url)
  await client.connect()
  t.teardown(() => client.end())
  await client.query('begin')
  await client.query(`select from clerk.users where id = 'user_ada' for update`)
  const held = deliver(service, event({ timestamp: Date.now() + 1 }), { id: 'msg_held' })
  const other = (n: number) => deliver(service, event({ data: { id: `user_${n}`, updated_at: Date.now() } }))
  for (const n of [1, 2, 3]) t.match(await other(n), { status: 200, body: { outcome: 'applied' } })
  t.match(await held, { status: 503, body: { code: 'DATABASE_UNAVAILABLE' } })
  await client.query('rollback')
  t.match(await deliver(service, event({ timestamp: Date.now() + 1 }), { id: 'msg_held' }), { status: 200 })
})
