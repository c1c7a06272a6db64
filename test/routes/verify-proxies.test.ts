import type { IncomingHttpHeaders } from 'node:http'
import { connect } from 'node:net'
import { test } from 'tap'
import { PROXIES } from '../helpers/proxies.ts'
import { sendRaw } from '../helpers/raw-http.ts'
import { type Service, startService } from '../helpers/service.ts'
import { IDENTITY_HEADERS, startApplication } from '../helpers/toy-application.ts'

const PAGE = 'https://app.example.com'
const SETTINGS = { CORS_ORIGINS: PAGE, CLERK_AUTHORIZED_PARTIES: PAGE }
const RIGHTS = {
  fea: 'o:posts',
  pla: 'u:pro',
  o: { id: 'org_1', slg: 'acme', rol: 'admin', per: 'read,edit', fpm: '3' },
  act: { sub: 'user_2support' },
}

const bearer = (token: string, ...more: string[]) => [`Authorization: Bearer ${token}`, 'Connection: close', ...more]
const identityOf = (headers: IncomingHttpHeaders | undefined) =>
  Object.fromEntries(
    IDENTITY_HEADERS.flatMap((name) =>
      headers?.[`x-auth-request-${name}`] ? [[name, headers[`x-auth-request-${name}`]]] : [],
    ),
  )

for (const [name, startProxy] of Object.entries(PROXIES)) {
  test(name, async (t) => {
    const service: Service = await startService(t, { settings: SETTINGS, clerk: { authorizedParty: PAGE } })
    const { clerk } = service
    const application = await startApplication(t)
    const { seen } = application
    const addresses = { service: new URL(service.url).host, application: application.address }
    const url = await startProxy(t, addresses)
    seen.length = 0
    const user = clerk.createUser({ email: 'łukasz@example.com' })
    const session = clerk.signIn(user.id)
    const token = (claims: object = {}, more: object = {}) => clerk.sessionToken(session.id, { claims, ...more })
    await clerk.webhooks.idle()
    t.beforeEach(() => {
      seen.length = 0
    })

    await t.test('a good token passes, with its identity headers and an unchanged body', async (t) => {
      const large = 'x'.repeat(2_000_000)
      const headers = bearer(token(RIGHTS), 'Content-Type: text/plain', `Content-Length: ${large.length}`)
      const reply = await sendRaw(`${url}/some/path?role=org:member&x=1`, { method: 'POST', headers, body: large })
      t.match(reply, { status: 200, headers: { 'x-application': ['toy'] }, body: 'from the application' })
      t.match(seen, [{ method: 'POST', url: '/some/path?role=org:member&x=1' }])
      t.equal(seen[0]?.body.length, large.length)
      t.strictSame(identityOf(seen[0]?.headers), {
        user: user.id,
        email: '%C5%82ukasz@example.com',
        session: session.id,
        organization: 'org_1',
        'organization-slug': 'acme',
        role: 'org:admin',
        permissions: 'org:posts:edit,org:posts:read',
        plan: 'u:pro',
        features: 'o:posts',
        actor: 'user_2support',
      })
      t.match(await sendRaw(`${url}/broken`, { headers: bearer(token()) }), {
        status: 500,
        body: /from the application/,
      })
      t.match(await sendRaw(url, { method: 'HEAD', headers: bearer(token()) }), { status: 200, body: '' })
      t.match(await sendRaw(url, { headers: [`Cookie: __session=${token()}`, 'Connection: close'] }), { status: 200 })
    })

    await t.test('identity headers of a client are never forwarded, with an email or without', async (t) => {
      const lies = IDENTITY_HEADERS.flatMap((header) => [
        `X-Auth-Request-${header}: evil`,
        `x-auth-request-${header}: evil2`,
      ])
      const nameless = clerk.createUser({ email: null, phone: '+15550100' })
      const bare = clerk.sessionToken(clerk.signIn(nameless.id).id, { omit: ['sid'] })
      await clerk.webhooks.idle()
      t.match(await sendRaw(url, { headers: bearer(bare, ...lies) }), { status: 200 })
      t.strictSame(identityOf(seen[0]?.headers), { user: nameless.id }, 'nor a placeholder')
      t.match(await sendRaw(url, { headers: bearer(token(RIGHTS), ...lies) }), { status: 200 })
      t.notMatch(JSON.stringify(identityOf(seen[1]?.headers)), 'evil')
      t.match(await sendRaw(url, { headers: ['Connection: close', ...lies] }), { status: 401 })
      t.equal(seen.length, 2)
    })

    await t.test(
      'a refusal keeps status, code and challenge, can be read by the page, and does not reach the application',
      async (t) => {
        const cases: [headers: string[], status: number, code: string][] = [
          [['Connection: close'], 401, 'MISSING_TOKEN'],
          [bearer('nonsense'), 401, 'INVALID_TOKEN'],
          [bearer(token({}, { expiresInSeconds: -60 })), 401, 'TOKEN_EXPIRED'],
          [bearer(token({ sts: 'pending' })), 403, 'SESSION_PENDING'],
        ]
        for (const [headers, status, code] of cases) {
          const direct = await sendRaw(`${service.url}/api/auth/verify`, { headers })
          const reply = await sendRaw(url, { headers: [...headers, `Origin: ${PAGE}`] })
          t.equal(reply.status, status, code)
          t.match(JSON.parse(reply.body), {
            statusCode: status,
            code,
            error: /^(Unauthorized|Forbidden)$/,
            requestId: /./,
          })
          t.strictSame(reply.headers['www-authenticate'], direct.headers['www-authenticate'])
          t.match(reply.headers['cache-control'], ['no-store'])
          t.strictSame(reply.headers['access-control-allow-origin'], [PAGE])
          t.strictSame(reply.headers['access-control-allow-credentials'], ['true'])
        }
        t.match(await sendRaw(url, { method: 'HEAD', headers: ['Connection: close'] }), { status: 401, body: '' })
        const lost = ['Connection: close', 'Content-Length: 4']
        t.match(await sendRaw(url, { method: 'POST', headers: lost, body: 'body' }), { status: 401 })
        t.strictSame(seen, [])
      },
    )

    await t.test('a preflight passes, and no other request can pass as one', async (t) => {
      const asked = [`Origin: ${PAGE}`, 'Access-Control-Request-Method: PUT', 'Connection: close']
      const reply = await sendRaw(`${url}/api`, { method: 'OPTIONS', headers: asked })
      t.match([reply.status, reply.headers['access-control-allow-methods']], [204, ['PUT']])
      t.strictSame(identityOf(seen[0]?.headers), {})
      const disguised = [...asked, 'X-Forwarded-Method: OPTIONS']
      t.match(await sendRaw(`${url}/api`, { headers: disguised }), { status: 401 })
      t.match(await sendRaw(`${url}/api`, { method: 'POST', headers: [...disguised, 'Content-Length: 0'] }), {
        status: 401,
      })
      const evil = ['Origin: https://evil.example', ...asked.slice(1)]
      t.match(await sendRaw(`${url}/api`, { method: 'OPTIONS', headers: evil }), { status: 401 })
      t.equal(seen.length, 1)
    })

    await t.test('another site cannot post with a cookie, the own site can', async (t) => {
      const post = async (origin: string, ...more: string[]) => {
        const headers = [
          `Cookie: __session=${token()}`,
          `Origin: ${origin}`,
          'Content-Length: 0',
          'Connection: close',
          ...more,
        ]
        return (await sendRaw(url, { method: 'POST', headers })).status
      }
      t.equal(await post('https://evil.example'), 403)
      t.equal(await post('https://evil.example', 'X-Forwarded-Method: GET'), 403)
      t.equal(await post('https://evil.example', 'X-Forwarded-Host: evil.example'), 403)
      t.equal(await post(url), 200)
      t.equal(await post(PAGE), 200)
    })

    await t.test('a token of 12 KB passes', async (t) => {
      const reply = await sendRaw(url, { headers: bearer(token({ filler: 'x'.repeat(9_000) })) })
      t.equal(reply.status, 200)
      const rights = {
        ...RIGHTS,
        v: undefined,
        org_id: 'org_1',
        org_permissions: Array.from({ length: 200 }, (_, i) => `org:posts:${i}`),
      }
      t.match(await sendRaw(url, { headers: bearer(token(rights)) }), { status: 200 }, 'and one with many permissions')
      t.match(seen[1]?.headers['x-auth-request-permissions'], /^org:posts:0,.*,org:posts:99$/)
    })

    await t.test('a WebSocket is upgraded only with a good token', async (t) => {
      const { hostname, port, host } = new URL(url)
      const upgrade = async (...headers: string[]) => {
        const socket = connect(Number(port), hostname).setEncoding('latin1')
        t.teardown(() => socket.destroy())
        const head = [
          'GET /socket HTTP/1.1',
          `Host: ${host}`,
          'Connection: Upgrade',
          'Upgrade: websocket',
          'Sec-WebSocket-Version: 13',
          'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
          ...headers,
        ]
        socket.write(`${head.join('\r\n')}\r\n\r\n`)
        let received = ''
        for await (const chunk of socket) {
          received += chunk
          if (received.startsWith('HTTP/1.1 101') && received.endsWith('\r\n\r\n')) socket.write('hello')
          if (received.endsWith('hello') || received.startsWith('HTTP/1.1 4')) break
        }
        return received
      }
      t.match(await upgrade(`Authorization: Bearer ${token()}`), /^HTTP\/1\.1 101 [\s\S]*hello$/)
      t.match(await upgrade(), /^HTTP\/1\.1 401 /)
      t.match(seen, [{ url: '/socket', headers: { 'x-auth-request-user': user.id } }])
    })

    await t.test("conditions are part of the proxy's configuration", async (t) => {
      const guarded = await startProxy(t, { ...addresses, conditions: 'role=org:admin&permission=org:posts:edit' })
      t.match(await sendRaw(guarded, { headers: bearer(token(RIGHTS)) }), { status: 200 })
      const refused = await sendRaw(`${guarded}/?role=org:member`, { headers: bearer(token()) })
      t.match([refused.status, JSON.parse(refused.body).code], [403, 'FORBIDDEN'])
      const mistaken = await startProxy(t, { ...addresses, conditions: 'rol=org:admin' })
      const reply = await sendRaw(mistaken, { headers: bearer(token(RIGHTS)) })
      t.ok(reply.status >= 400, 'a mistake lets nobody in')
      t.equal(JSON.parse(reply.body).code, 'UNKNOWN_CONDITION')
    })

    await t.test('while the service is down, requests are refused with 503', async (t) => {
      await service.app.close()
      seen.length = 0
      const gone = await sendRaw(url, { headers: bearer(token()) })
      t.match(gone, { status: 503, headers: { 'retry-after': ['1'] } })
      t.match(JSON.parse(gone.body), { statusCode: 503, code: 'AUTH_UNAVAILABLE', requestId: /./ })
      t.strictSame(seen, [])
    })
  })
}
