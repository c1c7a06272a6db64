/** Somebody else's application, with handlers, headers and plugins of its own, and every plugin of ours beside them. */
import fastifyCors from '@fastify/cors'
import fastifyHelmet from '@fastify/helmet'
import fastifyJwt from '@fastify/jwt'
import fastifyRateLimit from '@fastify/rate-limit'
import fastifySwagger from '@fastify/swagger'
import Fastify, { type FastifyInstance } from 'fastify'
import { type Test, test } from 'tap'
import { type ClerkEmulator, createClerkEmulator } from '../../src/emulator/index.ts'
import clerkSessionSync, {
  clerkAuth,
  clerkDatabase,
  clerkMetrics,
  clerkUserSync,
  clerkWebhooks,
} from '../../src/index.ts'
import { createDatabase } from '../helpers/database.ts'
import { keptLogger } from '../helpers/run-log.ts'

const HOST_PAGE = 'https://host.example.com'
const OUR_PAGE = 'https://app.example.com'

/** The host's own ways, all of them different from ours. */
async function startHost(t: Test, mount: (app: FastifyInstance) => Promise<unknown>, ignoreTrailingSlash = false) {
  const app = Fastify({ ...keptLogger(), routerOptions: { ignoreTrailingSlash } })
  t.teardown(() => app.close())
  app.setNotFoundHandler((_request, reply) => reply.code(404).header('x-host', 'not found').send('host: nothing here'))
  app.setErrorHandler((error: { statusCode?: number; code?: string }, _request, reply) => {
    const status = error.statusCode ?? 500
    if (status === 401) reply.header('www-authenticate', 'Basic realm="host"')
    return reply
      .code(status)
      .header('x-host', 'error')
      .send({ host: error.code ?? 'OWN' })
  })
  await app.register(fastifyCors, { origin: HOST_PAGE, methods: ['GET', 'PUT', 'DELETE'], exposedHeaders: ['x-host'] })
  await app.register(fastifyHelmet, { global: true })
  await app.register(fastifyRateLimit, { global: true, max: 1_000 })
  await app.register(fastifyJwt, { secret: 'of the host' })
  await app.register(fastifySwagger, { openapi: { openapi: '3.1.0', info: { title: 'host', version: '1' } } })
  await mount(app)
  const fail = (statusCode: number) => async () => {
    throw Object.assign(new Error('of the host'), { statusCode })
  }
  app.put('/things/1', async () => ({ put: true }))
  app.get('/basic', fail(401))
  app.get('/busy', async (_request, reply) => {
    reply.header('retry-after', '77')
    throw Object.assign(new Error('of the host'), { statusCode: 503 })
  })
  app.get('/theirs', async (request) => request.jwtVerify())
  return app
}

async function startClerkAndDatabase(t: Test) {
  const clerk = await createClerkEmulator()
  t.teardown(() => clerk.close())
  const { url } = await createDatabase(t)
  return { clerk, connectionString: url }
}

/** Everything that must be the host's, with our plugins mounted or not. */
async function assertHostIsItself(t: Test, app: FastifyInstance) {
  const missing = await app.inject('/nowhere')
  t.strictSame([missing.statusCode, missing.headers['x-host'], missing.body], [404, 'not found', 'host: nothing here'])
  const basic = await app.inject('/basic')
  t.strictSame([basic.headers['www-authenticate'], basic.json()], ['Basic realm="host"', { host: 'OWN' }])
  const busy = await app.inject('/busy')
  t.strictSame([busy.statusCode, busy.headers['retry-after']], [503, '77'])
  const preflight = await app.inject({
    method: 'OPTIONS',
    url: '/things/1',
    headers: { origin: HOST_PAGE, 'access-control-request-method': 'PUT' },
  })
  t.equal(preflight.headers['access-control-allow-methods'], 'GET, PUT, DELETE')
  const put = await app.inject({ method: 'PUT', url: '/things/1', headers: { origin: OUR_PAGE } })
  t.equal(put.headers['access-control-allow-origin'], HOST_PAGE)
  t.equal(put.headers['access-control-expose-headers'], 'x-host')
  for (const name of ['cache-control', 'connection', 'x-auth-request-user'])
    t.notOk(name in put.headers && put.headers[name] !== 'keep-alive', name)
  t.equal(put.headers.vary, undefined)
  t.match(put.headers, { 'x-ratelimit-limit': '1000', 'x-frame-options': 'SAMEORIGIN' })
  const theirs = app.jwt.sign({ their: 'claim' })
  const read = await app.inject({ url: '/theirs', headers: { authorization: `Bearer ${theirs}` } })
  t.match(read.json(), { their: 'claim' })
}

const signIn = (clerk: ClerkEmulator) => {
  const user = clerk.createUser()
  return { user, authorization: `Bearer ${clerk.sessionToken(clerk.signIn(user.id).id)}` }
}

test('the whole service in an application that has everything of its own', async (t) => {
  for (const ignoreTrailingSlash of [false, true]) {
    const { clerk, connectionString } = await startClerkAndDatabase(t)
    const app = await startHost(
      t,
      async (host) =>
        host.register(clerkSessionSync, {
          prefix: '/clerk-sync',
          database: { connectionString },
          auth: { issuer: clerk.issuer },
          webhooks: { signingSecrets: [clerk.webhookSecret] },
          corsOrigins: [OUR_PAGE],
        }),
      ignoreTrailingSlash,
    )
    app.get('/mine', { onRequest: app.requireClerkUser() }, async ({ clerkUser }) => ({ id: clerkUser?.id }))
    await assertHostIsItself(t, app)
    const { user, authorization } = signIn(clerk)
    const headers = { authorization }
    t.match((await app.inject({ url: '/mine', headers })).json(), { id: user.id })
    const refused = await app.inject('/mine')
    t.match(
      [refused.statusCode, refused.json(), refused.headers['www-authenticate']],
      [401, { host: 'MISSING_TOKEN' }, 'Basic realm="host"'],
      'the host has the last word on its own routes',
    )

    const ours = await app.inject({ url: '/clerk-sync/api/auth/profile', headers: { ...headers, origin: OUR_PAGE } })
    t.match(
      [ours.statusCode, ours.json().user.id, ours.headers['access-control-allow-origin']],
      [200, user.id, OUR_PAGE],
    )
    const missing = await app.inject('/clerk-sync/api/auth/profile')
    t.match(missing.json(), { statusCode: 401, code: 'MISSING_TOKEN', requestId: /./ }, 'our routes keep our shape')
    t.match(missing.headers, { 'www-authenticate': 'Bearer', 'cache-control': 'no-store' })
    t.notOk('x-host' in missing.headers)
    for (const path of ['/clerk-sync/api/auth/verify', '/clerk-sync/api/auth/verify/deep']) {
      t.match((await app.inject({ url: path, headers })).headers, { 'x-auth-request-user': user.id }, path)
    }
    const preflight = await app.inject({
      method: 'OPTIONS',
      url: '/clerk-sync/api/auth/sync-user',
      headers: { origin: OUR_PAGE, 'access-control-request-method': 'POST' },
    })
    t.match(
      [preflight.statusCode, preflight.headers['access-control-allow-origin']],
      [204, OUR_PAGE],
      'our pages may call our routes, whatever the host allows',
    )
    t.equal((await app.inject({ method: 'POST', url: '/clerk-sync/clerk/' })).json().code, 'WEBHOOK_HEADERS_MISSING')
    t.equal((await app.inject('/clerk-sync/nowhere')).headers['x-host'], 'not found')
    t.match(
      app.swagger().paths,
      { '/clerk-sync/api/auth/profile': {}, '/things/1': {} },
      "our routes are in the host's document",
    )
    await app.close()
  }
})

test('each plugin alone, in contexts of their own', async (t) => {
  const { clerk, connectionString } = await startClerkAndDatabase(t)
  const app = await startHost(t, async (host) => {
    await host.register(async (api) => {
      await api.register(clerkDatabase, { connectionString })
      await api.register(clerkAuth, { issuer: clerk.issuer })
      await api.register(clerkUserSync)
      await api.register(clerkMetrics, { version: '1' })
      await api.register(clerkWebhooks, { signingSecrets: [clerk.webhookSecret], path: '/hooks/clerk' })
      api.get('/mine', { onRequest: api.requireClerkUser() }, async ({ clerkUser }) => ({ id: clerkUser?.id }))
    })
  })
  await assertHostIsItself(t, app)
  const { user, authorization } = signIn(clerk)
  t.match((await app.inject({ url: '/mine', headers: { authorization } })).json(), { id: user.id })
  t.match((await app.inject('/mine')).json(), { host: 'MISSING_TOKEN' })
  t.match((await app.inject({ method: 'POST', url: '/hooks/clerk' })).json(), { code: 'WEBHOOK_HEADERS_MISSING' })
  t.match((await app.inject('/hooks/nothing')).headers, { 'x-host': 'not found' })
})

test('an application without handlers of its own keeps those of Fastify', async (t) => {
  const { clerk, connectionString } = await startClerkAndDatabase(t)
  const app = Fastify(keptLogger())
  t.teardown(() => app.close())
  await app.register(clerkSessionSync, {
    database: { connectionString },
    auth: { issuer: clerk.issuer },
    corsOrigins: [OUR_PAGE],
  })
  app.put('/things/1', async () => ({ put: true }))
  t.match((await app.inject('/nowhere')).json(), { message: 'Route GET:/nowhere not found' })
  const put = await app.inject({ method: 'PUT', url: '/things/1', headers: { origin: OUR_PAGE } })
  t.strictSame(
    [put.statusCode, put.headers['access-control-allow-origin'], put.headers.vary],
    [200, undefined, undefined],
  )
  const preflight = await app.inject({
    method: 'OPTIONS',
    url: '/api/auth/sync-user',
    headers: { origin: OUR_PAGE, 'access-control-request-method': 'POST' },
  })
  t.match([preflight.statusCode, preflight.headers['access-control-allow-methods']], [204, 'GET, HEAD, POST'])
  t.equal((await app.inject({ method: 'OPTIONS', url: '/things/1' })).statusCode, 404)
})
