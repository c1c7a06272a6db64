/** The documented nginx snippet, in a real nginx, between real clients and a toy application. */
import { readFileSync } from 'node:fs'
import { type Test, test } from 'tap'
import { createClerkEmulator } from '../../src/emulator/index.ts'
import { createDatabase } from '../helpers/database.ts'
import { eventually } from '../helpers/jwks-server.ts'
import { startNginx } from '../helpers/nginx.ts'
import { sendRaw } from '../helpers/raw-http.ts'
import { type Service, startService } from '../helpers/service.ts'
import { startApplication } from '../helpers/toy-application.ts'

const SNIPPET = readFileSync(new URL('../../examples/nginx/auth-request.conf', import.meta.url), 'utf8')

async function startFront(t: Test, service: Service) {
  const application = await startApplication(t)
  const url = await startNginx(t, (port) =>
    [
      ['server 127.0.0.1:3000;', `server ${new URL(service.url).host};`],
      ['server 127.0.0.1:8080;', `server ${application.address};`],
      ['listen 127.0.0.1:80;', `listen 127.0.0.1:${port};`],
    ].reduce((snippet, [documented, real]) => {
      const pieces = snippet.split(documented as string)
      if (pieces.length !== 2) throw new Error(`auth-request.conf should have "${documented}" once`)
      return pieces.join(real)
    }, SNIPPET),
  )
  const bearer = (token: string, ...more: string[]) => ({
    headers: [`Authorization: Bearer ${token}`, 'Connection: close', ...more],
  })
  return { url, seen: application.seen, bearer }
}

test('a good token passes, with the user in the headers and an unchanged body', async (t) => {
  const service = await startService(t)
  const { clerk } = service
  const { url, seen, bearer } = await startFront(t, service)
  const user = clerk.createUser({ email: 'łukasz@example.com' })
  const session = clerk.signIn(user.id)
  const token = clerk.sessionToken(session.id)
  const posted = await sendRaw(`${url}/some/path?x=1`, {
    method: 'POST',
    ...bearer(token, 'Content-Type: text/plain', 'Transfer-Encoding: chunked'),
    body: '4\r\nbody\r\n0\r\n\r\n',
  })
  t.match(posted, { status: 200, headers: { 'x-application': ['toy'] } })
  t.match(seen, [
    {
      method: 'POST',
      url: '/some/path?x=1',
      body: 'body',
      headers: {
        'x-auth-request-user': user.id,
        'x-auth-request-email': '%C5%82ukasz@example.com',
        'x-auth-request-session': session.id,
      },
    },
  ])
  t.match(
    await sendRaw(`${url}/broken`, bearer(token)),
    { status: 500, body: /from the application/ },
    "the application's own errors stay",
  )
  t.match(await sendRaw(url, { method: 'HEAD', ...bearer(token) }), { status: 200, body: '' })
})

test('bodies are forwarded to the application, and not to the service', async (t) => {
  const service = await startService(t)
  const { clerk } = service
  const { url, seen, bearer } = await startFront(t, service)
  const token = clerk.sessionToken(clerk.signIn(clerk.createUser().id).id)
  for (const body of ['one', 'two', 'three']) {
    const reply = await sendRaw(url, { method: 'POST', ...bearer(token, `Content-Length: ${body.length}`), body })
    t.equal(reply.status, 200)
  }
  t.strictSame(
    seen.map(({ body }) => body),
    ['one', 'two', 'three'],
  )
})

test('X-Auth-Request headers of a client are replaced', async (t) => {
  const service = await startService(t)
  const { clerk } = service
  const { url, seen, bearer } = await startFront(t, service)
  const lies = [
    'X-Auth-Request-User: user_evil',
    'X-Auth-Request-Email: evil@example.com',
    'X-Auth-Request-Session: sess_evil',
  ]
  const disguised = lies.map((line) => line.replaceAll('-', '_'))
  const user = clerk.createUser({ phone: '+15550100' })
  const token = clerk.sessionToken(clerk.signIn(user.id).id, { omit: ['sid'] })
  t.match(await sendRaw(url, bearer(token, ...lies, ...lies, ...disguised)), { status: 200 })
  t.equal(seen[0]?.headers['x-auth-request-user'], user.id)
  t.notMatch(JSON.stringify(seen), 'evil', 'not even where the service has nothing to put in its place')
  t.match(await sendRaw(url, { headers: [...lies, ...disguised, 'Connection: close'] }), { status: 401 })
  t.equal(seen.length, 1)
})

test('a refusal keeps its status, its challenge and its code, and does not reach the application', async (t) => {
  const service = await startService(t)
  const { clerk } = service
  const { url, seen, bearer } = await startFront(t, service)
  const session = clerk.signIn(clerk.createUser().id)
  const token = (more = {}) => clerk.sessionToken(session.id, more)
  const cases: [headers: string[], status: number, code: string][] = [
    [['Connection: close'], 401, 'MISSING_TOKEN'],
    [bearer('nonsense').headers, 401, 'INVALID_TOKEN'],
    [bearer(token({ claims: { iss: 'https://evil.example' } })).headers, 401, 'INVALID_TOKEN'],
    [bearer(token({ expiresInSeconds: -60 })).headers, 401, 'TOKEN_EXPIRED'],
    [bearer(token({ claims: { sts: 'pending' } })).headers, 403, 'SESSION_PENDING'],
  ]
  for (const [headers, status, code] of cases) {
    const direct = await sendRaw(`${service.url}/api/auth/verify`, { headers })
    const reply = await sendRaw(url, { headers })
    t.match([direct.status, reply.status], [status, status], code)
    t.match(reply.headers['content-type'], ['application/json'])
    const body = JSON.parse(reply.body)
    t.match(body, { statusCode: status, code, error: /^(Unauthorized|Forbidden)$/, requestId: /./ })
    t.strictSame(Object.keys(body), Object.keys(JSON.parse(direct.body)), 'the shape of every error')
    t.strictSame(reply.headers['www-authenticate'], direct.headers['www-authenticate'])
    t.equal(reply.headers['retry-after'], undefined)
  }
  t.strictSame(seen, [])
})

test('a failure of the service stays a 503 with Retry-After, and recovers by itself', async (t) => {
  const clerk = await createClerkEmulator()
  t.teardown(() => clerk.close())
  clerk.faults.jwks = 'error'
  const service = await startService(t, { beside: { clerk, database: await createDatabase(t) } })
  const { url, seen, bearer } = await startFront(t, service)
  const token = clerk.sessionToken(clerk.signIn(clerk.createUser().id).id)
  const reply = await sendRaw(url, bearer(token))
  t.match(reply, { status: 503, headers: { 'retry-after': [/^[1-9]\d*$/], 'cache-control': ['no-store'] } })
  t.match(JSON.parse(reply.body), { statusCode: 503, code: 'JWKS_UNAVAILABLE', error: 'Service Unavailable' })
  t.equal(reply.headers['www-authenticate'], undefined)
  t.strictSame(seen, [])

  clerk.faults.jwks = undefined
  await eventually(async () => (await sendRaw(url, bearer(token))).status === 200)

  await service.app.close()
  const gone = await sendRaw(url, bearer(token))
  t.match(gone, { status: 503, headers: { 'retry-after': ['1'] } })
  t.match(JSON.parse(gone.body), { statusCode: 503, code: 'AUTH_UNAVAILABLE' })
  t.equal(seen.length, 1)
})
