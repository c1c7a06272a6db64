import { generateKeyPairSync } from 'node:crypto'
import fastifyJwt from '@fastify/jwt'
import Fastify, { type FastifyInstance } from 'fastify'
import { type Test, test } from 'tap'
import type { SessionToken } from '../../src/domain/session-token.ts'
import auth, { type AuthOptions } from '../../src/plugins/auth.ts'
import { startClerk } from '../emulator/start-clerk.ts'
import { createDatabase } from '../helpers/database.ts'
import { eventually } from '../helpers/jwks-server.ts'
import { keptLogger } from '../helpers/run-log.ts'
import { startService } from '../helpers/service.ts'

/** A host application with only this plugin. */
async function startHost(t: Test, options: AuthOptions, prepare?: (app: FastifyInstance) => Promise<unknown>) {
  const app = Fastify(keptLogger())
  t.teardown(() => app.close())
  await prepare?.(app)
  await app.register(auth, options)
  app.get('/mine', { onRequest: app.requireClerkAuth() }, async ({ clerkAuth }) => clerkAuth)
  app.get('/open', async ({ clerkAuth }) => ({ clerkAuth }))
  const ask = async (token?: string, url = '/mine') => {
    const reply = await app.inject({ url, headers: token === undefined ? {} : { authorization: `Bearer ${token}` } })
    return { status: reply.statusCode, headers: reply.headers, body: reply.json() }
  }
  return { app, ask }
}

async function signedIn(t: Test) {
  const clerk = await startClerk(t)
  const user = clerk.createUser()
  const session = clerk.signIn(user.id)
  return { clerk, user, session, token: (more = {}) => clerk.sessionToken(session.id, more) }
}

test("mounted alone in somebody's app, it guards their routes without a database", async (t) => {
  const { clerk, user, session, token } = await signedIn(t)
  const { ask } = await startHost(t, { issuer: clerk.issuer })
  const nowSeconds = Math.floor(Date.now() / 1000)
  const { status, body } = await ask(token({ claims: { iat: nowSeconds, role: 'captain' } }))
  t.equal(status, 200)
  t.match(body, {
    userId: user.id,
    sessionId: session.id,
    issuedAtSeconds: nowSeconds,
    isPending: false,
    claims: { iss: clerk.issuer, role: 'captain' },
  })
  t.match(await ask(token({ header: { oiat: 1_700_000_000.9 }, omit: ['sid'] })), {
    status: 200,
    body: { sessionId: null, issuedAtSeconds: 1_700_000_000 },
  })
  t.match(await ask(), { status: 401, headers: { 'www-authenticate': 'Bearer' }, body: { code: 'MISSING_TOKEN' } })
  t.match(await ask(token({ expiresInSeconds: -60 })), {
    status: 401,
    headers: {
      'www-authenticate':
        'Bearer error="invalid_token", error_description="The session token has expired, get a fresh one"',
    },
    body: { code: 'TOKEN_EXPIRED' },
  })
  const pending = await ask(token({ claims: { sts: 'pending' } }))
  t.match(pending, { status: 403, body: { code: 'SESSION_PENDING' } })
  t.equal(pending.headers['www-authenticate'], undefined)
  t.strictSame((await ask(token(), '/open')).body, { clerkAuth: null }, 'a route without a guard is as it was')
})

test('the app may use @fastify/jwt for other tokens', async (t) => {
  const { clerk, user, token } = await signedIn(t)
  const { app, ask } = await startHost(t, { issuer: clerk.issuer }, async (host) => {
    await host.register(fastifyJwt, { secret: 'of the app' })
    host.get('/theirs', async (request) => request.jwtVerify())
  })
  const theirs = app.jwt.sign({ their: 'claim' })
  t.match(await ask(theirs, '/theirs'), { status: 200, body: { their: 'claim' } })
  t.match(await ask(theirs), { status: 401, body: { code: 'INVALID_TOKEN' } })
  t.match(await ask(token()), { status: 200, body: { userId: user.id } })
  t.not((await ask(token(), '/theirs')).status, 200)
})

test('a guard that is used before or without its plugin makes the start fail', async (t) => {
  const app = Fastify(keptLogger())
  app.register(async (routes) => {
    routes.get('/x', { onRequest: routes.requireClerkAuth() }, async () => 'open')
  })
  app.register(auth, { issuer: 'http://127.0.0.1:1' })
  await t.rejects(async () => void (await app.ready()), new TypeError('routes.requireClerkAuth is not a function'))
})

test('a guard factory that is passed without a call makes the start fail, or refuses every request', async (t) => {
  const { clerk, token } = await signedIn(t)
  const { app, ask } = await startHost(t, { issuer: clerk.issuer })
  const message = 'requireClerkAuth makes a guard: write onRequest: app.requireClerkAuth()'
  const factory = app.requireClerkAuth as never
  for (const hooks of [{ onRequest: factory }, { preHandler: [factory] }]) {
    t.throws(() => app.get('/wrong', hooks, async () => ({ is: 'open' })), new TypeError(message))
  }
  app.register(async (routes) => {
    routes.addHook('onRequest', factory)
    routes.get('/wrong', async () => ({ is: 'open' }))
  })
  t.match(await ask(token(), '/wrong'), { status: 500, body: { message } })
  t.match(await ask(undefined, '/wrong'), { status: 500, body: { message } })
})

test('CLERK_JWT_KEY verifies without any network, also with the escapes of an env file', async (t) => {
  const { clerk, token } = await signedIn(t)
  const beside = { clerk, database: await createDatabase(t) }
  for (const [form, key] of Object.entries({
    'as PEM': clerk.jwtKey,
    'with \\n for line feeds': clerk.jwtKey.replaceAll('\n', '\\n'),
    'with CRLF': clerk.jwtKey.replaceAll('\n', '\r\n'),
  })) {
    // Nothing listens there.
    clerk.faults.jwks = 'reset'
    const { call } = await startService(t, { beside, settings: { CLERK_JWT_KEY: key }, hasSecretKey: false })
    t.match(await call('/api/auth/verify', { token: token() }), { status: 200 }, form)
    t.match(await call('/api/auth/verify', { token: token({ header: { kid: undefined } }) }), { status: 200 })
    t.match(
      await call('/api/auth/verify', { token: token({ kid: 'ins_unknown' }) }),
      { status: 200 },
      'the kid says nothing',
    )
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
    for (const bad of [token({ privateKey }), token({ claims: { iss: 'https://evil.example' } }), 'x.y.z']) {
      t.match(await call('/api/auth/verify', { token: bad }), { status: 401, body: { code: 'INVALID_TOKEN' } })
    }
    const { body } = await call('/api/auth/health')
    t.strictSame(body.checks.jwks, { status: 'ok', reason: 'a fixed key is set' })
  }
  t.equal(clerk.stats.jwksRequests, 0)
})

test('an unusable key makes the start fail, instead of refusing every token', async (t) => {
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const elliptic = publicKey.export({ type: 'spki', format: 'pem' }).toString()
  for (const jwtKey of ['nonsense', '-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----', elliptic]) {
    await t.rejects(startHost(t, { issuer: 'https://clerk.example.com', jwtKey }))
  }
})

test('an invalid origin makes the start fail', async (t) => {
  const issuer = 'https://clerk.example.com'
  for (const options of [{ authorizedParties: ['https://*.example.com'] }, { trustedOrigins: ['example.com'] }]) {
    await t.rejects(startHost(t, { issuer, ...options }), /is not an origin such as/)
  }
})

test('a token with a future nbf is accepted from that time on', async (t) => {
  const { clerk, token } = await signedIn(t)
  const { ask } = await startHost(t, { issuer: clerk.issuer })
  const realNow = Date.now
  t.teardown(() => {
    Date.now = realNow
  })
  const atMs = Math.floor(Date.now() / 1000) * 1000
  Date.now = () => atMs
  const early = token({ claims: { nbf: atMs / 1000 + 6 } })
  t.equal((await ask(early)).status, 401)
  Date.now = () => atMs + 1000
  t.equal((await ask(early)).status, 200)
})

test('a verified token is refused as soon as it expires', async (t) => {
  const { clerk, token } = await signedIn(t)
  const { ask } = await startHost(t, { issuer: clerk.issuer })
  const realNow = Date.now
  t.teardown(() => {
    Date.now = realNow
  })
  const atMs = Math.floor(Date.now() / 1000) * 1000
  Date.now = () => atMs
  const short = token({ expiresInSeconds: 2 })
  for (const [afterMs, status] of [
    [0, 200],
    [0, 200],
    [7_000, 200],
    [7_001, 401],
  ] as const) {
    Date.now = () => atMs + afterMs
    t.equal((await ask(short)).status, status, `${afterMs} ms later`)
  }
})

test('a handler cannot change the token of another request', async (t) => {
  const { clerk, user, token } = await signedIn(t)
  const { app, ask } = await startHost(t, { issuer: clerk.issuer })
  const tamper: Record<string, (auth: SessionToken) => void> = {
    user: (auth) => Object.assign(auth, { userId: 'user_other' }),
    claims: ({ claims }) => Object.assign(claims, { sub: 'user_other' }),
    metadata: ({ claims }) => Object.assign(claims.metadata as object, { role: 'captain' }),
  }
  for (const [name, change] of Object.entries(tamper)) {
    app.get(`/${name}`, { onRequest: app.requireClerkAuth() }, async ({ clerkAuth }) =>
      change(clerkAuth as SessionToken),
    )
  }
  const good = token({ claims: { metadata: { role: 'cook' } } })
  for (const name of Object.keys(tamper)) {
    for (const url of [`/${name}`, '/mine', `/${name}`]) await ask(good, url)
    t.match(
      await ask(good),
      { status: 200, body: { userId: user.id, claims: { sub: user.id, metadata: { role: 'cook' } } } },
      name,
    )
  }
})

test('the state of the keys is available', async (t) => {
  const { clerk } = await signedIn(t)
  const { app } = await startHost(t, { issuer: clerk.issuer })
  await app.ready()
  await eventually(() => app.clerkKeysStatus()?.state === 'ok')
  t.match(app.clerkKeysStatus(), { keyCount: 1, fetches: 1, failures: 0 })
  const fixed = await startHost(t, { issuer: clerk.issuer, jwtKey: clerk.jwtKey })
  t.equal(fixed.app.clerkKeysStatus(), undefined)
})
