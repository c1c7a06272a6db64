import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import { type Test, test } from 'tap'
import { createDatabase } from '../../helpers/database.ts'
import { type OtlpReceiver, type ReceivedSpan, startOtlpReceiver } from '../../helpers/otlp-receiver.ts'
import { createProduction } from '../../helpers/production.ts'
import { startService } from '../../helpers/service.ts'
import { createTcpProxy } from '../../helpers/tcp-proxy.ts'
import { waitUntil } from '../../helpers/wait-until.ts'

/** Where a caller's trace has got to, as it tells in its header. */
function newCaller({ isSampled = true } = {}) {
  const traceId = randomBytes(16).toString('hex')
  const spanId = randomBytes(8).toString('hex')
  return { traceId, spanId, headers: { traceparent: `00-${traceId}-${spanId}-0${isSampled ? 1 : 0}` } }
}

const named = (spans: ReceivedSpan[], name: string) => spans.find((span) => span.name === name) as ReceivedSpan
const parents = (spans: ReceivedSpan[]) =>
  Object.fromEntries(
    spans.map(({ name, parentSpanId }) => [name, spans.find(({ spanId }) => spanId === parentSpanId)?.name]),
  )

/** The service as a process of its own, that sends its traces at once. */
async function startTraced(t: Test, collector: OtlpReceiver) {
  const database = await createDatabase(t)
  const proxy = await createTcpProxy(t, database.url)
  const production = await createProduction(t, { ...database, url: proxy.url })
  const service = await production.start(undefined, [], {
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
    OTEL_EXPORTER_OTLP_HEADERS: 'x-api-key=key-of-the-test',
    OTEL_RESOURCE_ATTRIBUTES: 'deployment.environment.name=test',
    OTEL_BSP_SCHEDULE_DELAY: '5',
    RATE_LIMIT_PER_MINUTE: '1000',
  })
  /** Calls a route, and resolves to the spans that it left. */
  async function call(path: string, init: RequestInit = {}) {
    const caller = newCaller()
    const reply = await fetch(service.url + path, { ...init, headers: { ...init.headers, ...caller.headers } })
    await reply.arrayBuffer()
    const spans = await collector.trace(caller.traceId)
    return { caller, status: reply.status, spans, request: spans.find(({ kind }) => kind === 2) as ReceivedSpan }
  }
  return { ...production, service, proxy, call }
}

test('requests and webhooks have spans for everything that they cause', async (t) => {
  const collector = await startOtlpReceiver(t)
  const { clerk, service, proxy, call } = await startTraced(t, collector)
  clerk.webhooks.url = `${service.url}/clerk`
  const ada = clerk.createUser({ email: 'ada@example.com' })
  await clerk.webhooks.idle()
  const authorization = `Bearer ${clerk.sessionToken(clerk.signIn(ada.id).id)}`

  const profile = await call('/api/auth/profile?of=ada@example.com', { headers: { authorization } })
  t.equal(profile.status, 200)
  t.match(profile.request, {
    name: 'GET /api/auth/profile',
    parentSpanId: profile.caller.spanId,
    attributes: {
      'http.request.method': 'GET',
      'http.route': '/api/auth/profile',
      'http.response.status_code': 200,
      'url.path': '/api/auth/profile',
      'url.scheme': 'http',
    },
    status: { code: 0, message: '' },
    resource: {
      'service.name': 'clerk-session-sync',
      'service.version': /\d/,
      'service.instance.id': /./,
      'deployment.environment.name': 'test',
    },
  })
  t.match(collector.headers(), { 'x-api-key': 'key-of-the-test' })
  const GET = 'GET /api/auth/profile'
  t.strictSame(parents(profile.spans), {
    [GET]: undefined,
    // Of the rate limit and of the guard.
    'verify token': GET,
    'read batch': GET,
    auth_states: 'read batch',
  })
  t.match(named(profile.spans, 'read batch'), {
    kind: 1,
    links: [],
    attributes: { 'clerk_session_sync.batch.size': 1 },
  })
  t.match(named(profile.spans, 'auth_states'), {
    kind: 3,
    attributes: {
      'db.system.name': 'postgresql',
      'db.query.summary': 'auth_states',
      'db.query.text': /^select k\.n, [\s\S]+ unnest\(\(select \$1::text\[\]/,
    },
  })
  const logged = service
    .output()
    .split('\n')
    .find((line) => line.includes(profile.caller.traceId)) as string
  t.match(JSON.parse(logged), { route: '/api/auth/profile', trace_id: profile.caller.traceId, msg: 'request' })

  const body = JSON.stringify({
    type: 'user.updated',
    timestamp: Date.now(),
    data: { id: ada.id, updated_at: Date.now() + 1, first_name: 'Ada' },
  })
  const post = (signed: string) => ({
    method: 'POST',
    body,
    headers: { 'content-type': 'application/json', ...clerk.sign(signed) },
  })
  const webhook = await call('/clerk', post(body))
  t.equal(webhook.status, 200)
  t.match(webhook.request, { name: 'POST /clerk', attributes: { 'http.response.status_code': 200 } })
  t.strictSame(parents(webhook.spans), {
    'POST /clerk': undefined,
    'verify signature': 'POST /clerk',
    'write batch': 'POST /clerk',
    users_upsert_snapshots: 'write batch',
    webhook_events_enter_user: 'write batch',
  })

  // Node.js reads a body that comes after its headers outside of what the request began.
  const late = newCaller()
  const headers = { ...post(body).headers, ...late.headers, expect: '100-continue' }
  const sending = request(`${service.url}/clerk`, { method: 'POST', headers })
  sending.flushHeaders()
  await once(sending, 'continue')
  sending.end(body)
  const [reply] = (await once(sending, 'response')) as [IncomingMessage]
  t.equal(reply.resume().statusCode, 200)
  t.strictSame(parents(await collector.trace(late.traceId)), parents(webhook.spans))

  const forged = await call('/clerk', post('another'))
  t.match(forged.request, {
    attributes: { 'http.response.status_code': 400, 'error.type': 'WEBHOOK_SIGNATURE_INVALID' },
    status: { code: 0, message: '' },
  })
  t.match(named(forged.spans, 'verify signature'), { attributes: { 'error.type': 'WEBHOOK_SIGNATURE_INVALID' } })

  const refused = await call('/api/auth/profile', { headers: { authorization: 'Bearer none' } })
  t.equal(refused.status, 401)
  t.match(refused.request, {
    attributes: { 'http.response.status_code': 401, 'error.type': 'INVALID_TOKEN' },
    status: { code: 0, message: '' },
  })
  t.match(named(refused.spans, 'verify token'), {
    attributes: { 'error.type': 'INVALID_TOKEN' },
    status: { code: 0 },
  })

  const lost = await call('/ada@example.com')
  t.strictSame(parents(lost.spans), { GET: undefined, 'verify token': 'GET' })
  t.match(lost.request, { attributes: { 'http.response.status_code': 404, 'url.path': 'none' }, status: { code: 0 } })

  await proxy.cut()
  const down = await call('/api/auth/profile', { headers: { authorization } })
  t.equal(down.status, 503)
  t.match(down.request, {
    attributes: { 'http.response.status_code': 503, 'error.type': 'DATABASE_UNAVAILABLE' },
    status: { code: 2, message: '' },
  })
  t.match(named(down.spans, 'read batch'), {
    attributes: { 'error.type': 'DATABASE_UNAVAILABLE' },
    status: { code: 2, message: '' },
  })
  t.equal(named(down.spans, 'auth_states'), undefined, 'it was never sent')
  await proxy.restore()

  service.child.kill('SIGTERM')
  t.equal(await service.exit, 0)
  t.notMatch(service.output(), /traces/, 'nothing was amiss')
  t.strictSame(
    collector.spans.filter(({ parentSpanId, kind }) => kind !== 2 && parentSpanId === ''),
    [],
    'what no request causes has no span, such as pruning',
  )
})

const PATIENT = { lockTimeoutMs: 30_000, statementTimeoutMs: 30_000, queryTimeoutMs: 30_000 }

test('requests and their shared batch link to each other', async (t) => {
  const collector = await startOtlpReceiver(t)
  let arrived = 0
  const service = await startService(t, {
    settings: { OTEL_EXPORTER_OTLP_ENDPOINT: `${collector.url}/` },
    change: (options) => ({ ...options, database: { ...options.database, ...PATIENT } }),
    onApp: (app) => {
      app.addHook('onRequest', async () => {
        arrived += 1
      })
    },
  })
  const { app, clerk, database, call } = service
  const ada = clerk.createUser({ email: 'ada@example.com' })
  await clerk.webhooks.idle()
  const token = clerk.sessionToken(clerk.signIn(ada.id).id)
  await clerk.webhooks.idle()
  await call('/api/auth/profile', { token })

  arrived = 0
  const callers = Array.from({ length: 24 }, (_, i) => newCaller({ isSampled: i % 4 !== 0 }))
  const pending: ReturnType<typeof call>[] = []
  // Two batches wait for the lock, and all the others for those.
  await whileLocked(database, async () => {
    pending.push(...callers.map(({ headers }) => call('/api/auth/profile', { token, headers })))
    await waitUntil('all have come', async () => arrived === callers.length)
  })
  const replies = await Promise.all(pending)
  for (const { status } of replies) t.equal(status, 200)
  // What is left is sent before it is closed.
  await app.close()

  const isSampled = new Set(callers.filter((_, i) => i % 4 !== 0).map(({ traceId }) => traceId))
  const ofCallers = collector.spans.filter(({ traceId }) => isSampled.has(traceId))
  const requests = ofCallers.filter(({ kind }) => kind === 2)
  t.equal(requests.length, 18)
  const batches = ofCallers.filter(({ name }) => name === 'read batch')
  t.ok(
    batches.some(({ links }) => links.length > 0),
    'one serves many',
  )
  t.equal(
    batches.reduce((served, { links }) => served + 1 + links.length, 0),
    18,
    'each sampled request is served by one',
  )
  for (const batch of batches) {
    const { traceId, spanId, links, parentSpanId } = batch
    t.ok(requests.some((request) => request.traceId === traceId && request.spanId === parentSpanId))
    t.ok(Number(batch.attributes['clerk_session_sync.batch.size']) > links.length)
    for (const link of links) {
      const request = requests.find((one) => one.traceId === link.traceId && one.spanId === link.spanId)
      t.strictSame(request?.links, [{ traceId, spanId }])
    }
    t.equal(ofCallers.filter((span) => span.parentSpanId === spanId && span.name === 'auth_states').length, 1)
  }
  const others = callers.filter(({ traceId }) => !isSampled.has(traceId)).map(({ traceId }) => traceId)
  t.notOk(
    collector.spans.some((span) => [span, ...span.links].some(({ traceId }) => others.includes(traceId))),
    'a caller that is not sampled stays so',
  )
})

test('no span contains a token, a secret, an email or a name', async (t) => {
  const collector = await startOtlpReceiver(t)
  const { app, call, clerk, database } = await startService(t, {
    settings: { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, DASHBOARD_TOKEN: 'token-of-the-dashboard' },
    onApp: (host) => {
      host.addHook('preHandler', async ({ headers }) => {
        if (headers['x-fail']) throw new Error(`this quotes ${headers['x-fail']}`)
      })
    },
  })
  const person = { email: 'ada.secret@example.com', firstName: 'Adaline', lastName: 'Lovelacet', username: 'adaloves' }
  const ada = clerk.createUser(person)
  const token = clerk.sessionToken(clerk.signIn(ada.id).id)
  await clerk.webhooks.idle()
  const bad = `${token.slice(0, -4)}AAAA`
  for (const sent of [token, bad, `${token}.${token}`]) {
    await call('/api/auth/profile', { token: sent })
    await call('/api/auth/profile', { headers: { cookie: `__session=${sent}` } })
    await call(`/api/auth/verify/${sent}?email=${person.email}`, { token: sent, method: 'PUT', body: person.email })
    await call('/api/auth/sync-user', { method: 'POST', token: sent, body: JSON.stringify(person) })
    await call(`/${sent}?token=${sent}`, { headers: { baggage: `email=${person.email}` } })
  }
  const found = await call('/dashboard/api/users/search', {
    method: 'POST',
    token: 'token-of-the-dashboard',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ query: person.email }),
  })
  t.match(JSON.stringify(found.body), person.email, 'an operator finds her')
  const deliver = (body: string) =>
    call('/clerk', { method: 'POST', body, headers: { 'content-type': 'application/json', ...clerk.sign(body) } })
  const event = (data: object) => JSON.stringify({ type: 'user.updated', timestamp: Date.now(), data })
  t.equal((await deliver(`${person.email} is not JSON`)).status, 422)
  // PostgreSQL quotes the row that it refuses.
  await database.query(`alter table users add constraint short check (length(first_name) < 10)`)
  const refused = await deliver(event({ id: ada.id, updated_at: Date.now() + 5, first_name: 'Adaline of Lovelacet' }))
  t.equal(refused.status, 500)
  const quoted = 'what the caller sent'
  t.equal((await call('/api/auth/profile', { token, headers: { 'x-fail': quoted } })).status, 500)
  t.equal((await call('/livez', { headers: { 'x-fail': quoted } })).status, 500)
  t.equal((await call('/livez')).status, 200)
  await app.close()

  t.ok(collector.spans.length > 50, `${collector.spans.length} spans`)
  const sent = Buffer.concat(collector.bodies).toString('latin1')
  t.match(sent, 'auth_states', 'the bytes are read')
  const secrets = { ...person, token, bad, payload: token.split('.')[1], signature: token.split('.')[2], user: ada.id }
  const keys = { webhook: clerk.webhookSecret.replace('whsec_', ''), api: clerk.secretKey }
  for (const [name, secret] of Object.entries({ ...secrets, ...keys, dashboard: 'token-of-the-dashboard', quoted })) {
    t.notOk(sent.includes(String(secret)), `no ${name} is sent`)
  }
  const telling = collector.spans.filter(({ status, events }) => status.message !== '' || events > 0)
  t.strictSame(telling, [], 'nor what failed in its own words')
  const failed = collector.spans.filter(({ kind, status }) => kind === 2 && status.code === 2)
  t.strictSame(
    failed.map(({ name, attributes }) => [name, attributes['error.type']]),
    [
      ['POST /clerk', '23514'],
      ['GET /api/auth/profile', 'Error'],
    ],
  )
  t.notOk(
    collector.spans.some(({ attributes }) => attributes['http.route'] === '/livez'),
    'probes have no span, even when they fail',
  )
})

/** Keeps readers of `users` waiting for as long as `work` takes. */
async function whileLocked(database: { url: string }, work: () => Promise<void>): Promise<void> {
  const { default: pg } = await import('pg')
  const client = new pg.Client({ connectionString: database.url })
  await client.connect()
  try {
    await client.query('begin; lock table clerk.users in access exclusive mode')
    await work()
  } finally {
    await client.end()
  }
}
