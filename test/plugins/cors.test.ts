import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import { type Test, test } from 'tap'
import { eventually } from '../helpers/jwks-server.ts'
import { type CallOptions, type Service, startService } from '../helpers/service.ts'

const ORIGIN = 'https://app.example.com'
const settings = { CORS_ORIGINS: `${ORIGIN}/, https://admin.example.com` }

const from = (origin: string, more: CallOptions = {}): CallOptions => ({
  ...more,
  headers: { ...more.headers, origin },
})

const corsHeaders = (headers: Headers) =>
  Object.fromEntries([...headers].filter(([name]) => name.startsWith('access-control-')))

function preflight({ call }: Pick<Service, 'call'>, path: string, origin: string) {
  return call(path, {
    method: 'OPTIONS',
    headers: {
      origin,
      'access-control-request-method': 'POST',
      'access-control-request-headers': 'authorization,content-type',
    },
  })
}

async function assertReadable(
  t: Test,
  reply: Promise<{ status: number; body: { code: string }; headers: Headers }>,
  expected: unknown,
) {
  const { status, body, headers } = await reply
  t.strictSame([status, body.code], expected)
  t.strictSame(corsHeaders(headers), {
    'access-control-allow-credentials': 'true',
    'access-control-allow-origin': ORIGIN,
    'access-control-expose-headers': 'Retry-After, WWW-Authenticate, X-Auth-Request-Error',
  })
  t.match(headers.get('vary'), /\borigin\b/i)
}

test('CORS is off unless origins are named', async (t) => {
  const service = await startService(t)
  const { call, clerk } = service
  const token = clerk.sessionToken(clerk.signIn(clerk.createUser().id).id)
  for (const reply of [
    await call('/api/auth/profile', from(ORIGIN, { token })),
    await call('/api/auth/profile', from(ORIGIN)),
    await preflight(service, '/api/auth/profile', ORIGIN),
  ]) {
    t.strictSame(corsHeaders(reply.headers), {})
  }
  t.match(await preflight(service, '/api/auth/profile', ORIGIN), { status: 404, body: { code: 'NOT_FOUND' } })
})

test('pages of named origins can read every reply, including refusals and 503s', async (t) => {
  const service = await startService(t, { settings })
  const { call, clerk, database } = service
  const { id } = clerk.signIn(clerk.createUser().id)
  const as = (sub: string) => from(ORIGIN, { token: clerk.sessionToken(id, { claims: { sub } }) })
  await assertReadable(t, call('/livez', from(ORIGIN)), [200, undefined])
  await assertReadable(t, call('/api/auth/profile', from(ORIGIN)), [401, 'MISSING_TOKEN'])
  await assertReadable(t, call('/api/auth/profile', as('user_2unknown')), [403, 'USER_DELETED'])
  await assertReadable(t, call('/nowhere', from(ORIGIN)), [404, 'NOT_FOUND'])
  await clerk.webhooks.idle()
  await database.query('alter table users rename column email to gone')
  await assertReadable(t, call('/api/auth/profile', as('user_2unknown')), [500, 'INTERNAL_SERVER_ERROR'])
  clerk.rotateKeys()
  clerk.faults.jwks = 'error'
  await assertReadable(t, call('/api/auth/profile', as('user_2unknown')), [503, 'JWKS_UNAVAILABLE'])
})

test('a HEAD can be read as its GET', async (t) => {
  const { url } = await startService(t, { settings })
  const { headers } = await fetch(`${url}/livez`, { method: 'HEAD', headers: { origin: ORIGIN } })
  t.equal(headers.get('access-control-allow-origin'), ORIGIN)
})

test('a refusal by the rate limit can be read, too', async (t) => {
  const { call } = await startService(t, { settings: { ...settings, RATE_LIMIT_PER_MINUTE: '1' } })
  await call('/api/auth/profile')
  await assertReadable(t, call('/api/auth/profile', from(ORIGIN)), [429, 'RATE_LIMITED'])
})

test('a refusal while the service closes can be read, too', async (t) => {
  const { app, url } = await startService(t, { settings })
  const connected = once(app.server, 'connection')
  const socket = connect(Number(new URL(url).port), '127.0.0.1').setEncoding('latin1')
  const [peer] = (await connected) as [Socket]
  const head = `GET /api/auth/profile HTTP/1.1\r\nHost: x\r\nOrigin: ${ORIGIN}\r\n`
  socket.write(head)
  await eventually(() => peer.bytesRead === head.length)
  // Half a request holds its connection open while the app closes.
  void app.close()
  await eventually(() => app.clerkIsClosing())
  socket.write('\r\n')
  const reply = await text(socket)
  t.match(reply, /^HTTP\/1.1 503 .*"SHUTTING_DOWN"/s)
  t.match(reply, `access-control-allow-origin: ${ORIGIN}\r\n`)
})

test('pages of other origins can read nothing', async (t) => {
  const service = await startService(t, { settings })
  for (const origin of ['https://evil.example', `${ORIGIN}.evil.example`, 'http://app.example.com', 'null']) {
    const { headers } = await service.call('/api/auth/profile', from(origin))
    t.equal(headers.get('access-control-allow-origin'), null, origin)
    t.match(headers.get('vary'), /\borigin\b/i, 'nor by way of a cache')
    t.equal((await preflight(service, '/api/auth/profile', origin)).headers.get('access-control-allow-origin'), null)
  }
  const other = await service.call('/api/auth/profile', from('https://admin.example.com'))
  t.equal(other.headers.get('access-control-allow-origin'), 'https://admin.example.com')
})

test('a preflight is answered without a token, for any path', async (t) => {
  const service = await startService(t, { settings: { ...settings, RATE_LIMIT_PER_MINUTE: '1' } })
  for (const path of ['/api/auth/profile', '/api/auth/sync-user', '/nowhere']) {
    const { status, headers } = await preflight(service, path, ORIGIN)
    t.equal(status, 204, path)
    t.match(corsHeaders(headers), {
      'access-control-allow-origin': ORIGIN,
      'access-control-allow-credentials': 'true',
      'access-control-allow-methods': 'GET, HEAD, POST',
      'access-control-allow-headers': 'authorization,content-type',
      'access-control-max-age': '600',
    })
  }
  t.match(
    await service.call('/api/auth/profile', { method: 'OPTIONS' }),
    { status: 204 },
    'nor is anything else refused',
  )
})

test('verify lets the preflights of named origins through to the application, and refuses all others', async (t) => {
  const service = await startService(t, { settings })
  const asked = { origin: ORIGIN, 'access-control-request-method': 'PUT' }
  const ask = async (method: string, headers: Record<string, string>, path = '/api/auth/verify') => {
    const reply = await service.call(path, { method, headers })
    return [reply.status, reply.body.code]
  }
  for (const path of ['/api/auth/verify', '/api/auth/verify/', '/api/auth/verify/deep/er?x=1']) {
    const { status, headers, body } = await preflight(service, path, ORIGIN)
    t.strictSame([status, body], [200, ''], path)
    t.equal(headers.get('x-auth-request-user'), '', 'and replaces what the client claims to be')
    t.equal(headers.get('access-control-allow-methods'), null, 'the application answers it')
    t.strictSame(await ask('GET', { ...asked, 'x-forwarded-method': 'OPTIONS' }, path), [200, undefined])
  }
  const refused = [401, 'MISSING_TOKEN']
  t.strictSame(await ask('OPTIONS', { ...asked, origin: 'https://evil.example' }), refused)
  t.strictSame(await ask('OPTIONS', { origin: ORIGIN }), refused, 'OPTIONS of a page is no preflight')
  t.strictSame(await ask('OPTIONS', { 'access-control-request-method': 'PUT' }), refused, 'nor without an origin')
  t.strictSame(await ask('GET', asked), refused)
  t.strictSame(await ask('OPTIONS', { ...asked, 'x-forwarded-method': 'POST' }), refused, 'the client sent a POST')
  t.strictSame(await ask('OPTIONS', asked, '/api/auth/verify?rol=x'), [400, 'UNKNOWN_CONDITION'])
  const off = await startService(t, { beside: service })
  t.match(await preflight(off, '/api/auth/verify', ORIGIN), { status: 401 })
})

test('the page behind a proxy can read what verify refuses', async (t) => {
  const service = await startService(t, { settings })
  await assertReadable(t, service.call('/api/auth/verify', from(ORIGIN)), [401, 'MISSING_TOKEN'])
  await assertReadable(t, service.call('/api/auth/verify?x=1', from(ORIGIN)), [400, 'UNKNOWN_CONDITION'])
})

test("the dashboard's API has no CORS", async (t) => {
  const { call } = await startService(t, { settings: { ...settings, DASHBOARD_TOKEN: 'x'.repeat(24) } })
  const { status, headers } = await call('/dashboard/api/overview?range=hour', from(ORIGIN))
  t.strictSame([status, corsHeaders(headers)], [401, {}])
})

test('* is every origin, without cookies', async (t) => {
  const service = await startService(t, { settings: { CORS_ORIGINS: '*' } })
  const { headers } = await service.call('/api/auth/profile', from('https://any.example'))
  t.strictSame(corsHeaders(headers), {
    'access-control-allow-origin': '*',
    'access-control-expose-headers': 'Retry-After, WWW-Authenticate, X-Auth-Request-Error',
  })
})
