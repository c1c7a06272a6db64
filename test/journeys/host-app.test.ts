/** A host application with its own handlers, headers and plugins, and every plugin of this service beside them. */
import fastifyCors from '@fastify/cors'
import fastifyHelmet from '@fastify/helmet'
import fastifyJwt from '@fastify/jwt'
import fastifyRateLimit from '@fastify/rate-limit'
import fastifySwagger from '@fastify/swagger'
import fastifySwaggerUi from '@fastify/swagger-ui'
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import { type Test, test } from 'tap'
import { createSessionSync } from '../../packages/client/src/index.ts'
import { type ClerkEmulator, createClerkEmulator } from '../../src/emulator/index.ts'
import clerkSessionSync, {
  clerkAuth,
  clerkDatabase,
  clerkMetrics,
  clerkOpenapi,
  clerkRoutes,
  clerkUserSync,
  clerkWebhooks,
  getClerkAuth,
  getClerkOrganization,
  getClerkUser,
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

test('the whole service in an application with its own hooks, handlers and plugins', async (t) => {
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

test('the whole service beside routes and plugins of the host, before or after it', async (t) => {
  for (const isFirst of [true, false]) {
    const { clerk, connectionString } = await startClerkAndDatabase(t)
    const app = Fastify(keptLogger())
    t.teardown(() => app.close())
    async function registerTheirs() {
      await app.register(fastifySwagger, { openapi: { openapi: '3.1.0', info: { title: 'host', version: '1' } } })
      await app.register(fastifySwaggerUi, { routePrefix: '/docs' })
      await app.register(fastifyCors, { origin: HOST_PAGE })
      await app.register(fastifyHelmet)
      for (const path of ['/livez', '/readyz', '/metrics']) app.get(path, async () => ({ host: path }))
    }
    const ours = {
      database: { connectionString },
      auth: { issuer: clerk.issuer },
      corsOrigins: [OUR_PAGE],
      // Whoever comes second needs to be told.
      omit: isFirst ? [] : (['livez', 'readyz', 'metrics', 'docs'] as const),
    }
    if (isFirst) await registerTheirs()
    await app.register(clerkSessionSync, ours)
    if (!isFirst) await registerTheirs()
    for (const path of ['/livez', '/readyz', '/metrics'])
      t.strictSame((await app.inject(path)).json(), { host: path }, `${path} is the host's`)
    t.equal((await app.inject('/docs/json')).json().info.title, 'host')
    t.match((await app.inject('/api/auth/health')).json(), { checks: { database: { status: 'ok' } } })
    const { authorization, user } = signIn(clerk)
    const profile = await app.inject({ url: '/api/auth/profile', headers: { authorization, origin: OUR_PAGE } })
    t.match(profile.json(), { user: { id: user.id } })
    t.equal(profile.headers['access-control-allow-origin'], OUR_PAGE)
    await app.close()
  }
})

test('a prefix is honoured, or refused with what to do', async (t) => {
  const { clerk, connectionString } = await startClerkAndDatabase(t)
  const app = Fastify(keptLogger())
  t.teardown(() => app.close())
  await app.register(clerkDatabase, { connectionString })
  await app.register(clerkAuth, { issuer: clerk.issuer })
  await app.register(clerkUserSync)
  await app.register(clerkRoutes, { prefix: '/v1' })
  await app.register(async (api) => void api.register(clerkWebhooks, { signingSecrets: [clerk.webhookSecret] }), {
    prefix: '/v1',
  })
  t.match((await app.inject('/v1/api/auth/profile')).json(), { code: 'MISSING_TOKEN', requestId: /./ })
  t.match((await app.inject({ method: 'POST', url: '/v1/clerk' })).json(), { code: 'WEBHOOK_HEADERS_MISSING' })
  for (const mount of [
    (host: FastifyInstance) => host.register(clerkWebhooks, { signingSecrets: [clerk.webhookSecret], prefix: '/v2' }),
    (host: FastifyInstance) => host.register(clerkMetrics, { version: '1', prefix: '/v2' }),
    (host: FastifyInstance) => host.register(clerkOpenapi, { version: '1', prefix: '/v2' }),
  ]) {
    const other = Fastify(keptLogger())
    t.teardown(() => other.close())
    await other.register(clerkDatabase, { connectionString })
    await other.register(clerkAuth, { issuer: clerk.issuer })
    await t.rejects(async () => void (await mount(other)), {
      message: /does not support prefix: register it in a context/,
    })
  }
})

test('helpers return what a guard admitted without null, and name a missing guard', async (t) => {
  const { clerk, connectionString } = await startClerkAndDatabase(t)
  const app = Fastify(keptLogger())
  t.teardown(() => app.close())
  await app.register(clerkDatabase, { connectionString })
  await app.register(clerkAuth, { issuer: clerk.issuer })
  await app.register(clerkUserSync)
  const read = async (request: FastifyRequest) => ({
    user: getClerkUser(request).id,
    session: getClerkAuth(request).sessionId,
  })
  app.get('/guarded', { onRequest: app.requireClerkUser() }, read)
  app.get('/open', read)
  app.get('/member', { onRequest: app.requireClerkUser() }, async (request) => getClerkOrganization(request))
  const { authorization, user } = signIn(clerk)
  const get = async (url: string) => (await app.inject({ url, headers: { authorization } })).json()
  t.match(await get('/guarded'), { user: user.id, session: /^sess_/ })
  t.match(await get('/open'), { statusCode: 500, message: /add onRequest: app\.requireClerkUser\(\)/ })
  t.match(await get('/member'), { statusCode: 500, message: /requireClerkUser\(\{ organization: true \}\)/ })
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

test("an application without error handlers keeps Fastify's", async (t) => {
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

test("the client recognizes a refusal on the host's own routes, whose error body is Fastify's", async (t) => {
  const { clerk, connectionString } = await startClerkAndDatabase(t)
  const app = Fastify(keptLogger())
  t.teardown(() => app.close())
  await app.register(clerkDatabase, { connectionString })
  await app.register(clerkAuth, { issuer: `${clerk.issuer}/` })
  await app.register(clerkUserSync)
  app.get('/orders', { onRequest: app.requireClerkUser() }, async () => [])
  app.get('/own', async () => {
    throw Object.assign(new Error('a wrong PIN'), { statusCode: 401 })
  })
  const baseUrl = await app.listen({ host: '127.0.0.1', port: 0 })
  const { authorization } = signIn(clerk)
  const good = authorization.replace('Bearer ', '')
  let asked = 0
  const { fetch } = createSessionSync({ baseUrl, getToken: async () => (asked++ === 0 ? `${good}x` : good) })
  t.equal((await fetch('/orders')).status, 200, 'with a fresh token, and with an issuer that ends in a slash')
  t.equal(asked, 2)
  t.equal((await fetch('/own')).status, 401, "the host's own 401 is no refusal")
  t.equal(asked, 3)
})

test('onChange without the change feed is a warning', async (t) => {
  const { connectionString } = await startClerkAndDatabase(t)
  const lines: string[] = []
  const app = Fastify({ logger: { stream: { write: (line: string) => void lines.push(line) } } })
  t.teardown(() => app.close())
  await app.register(clerkDatabase, { connectionString, onChange: async () => undefined })
  await app.ready()
  t.match(lines.join(''), /onChange is called only while the change feed is on/)
})
