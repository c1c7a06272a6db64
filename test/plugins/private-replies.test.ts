import Fastify from 'fastify'
import { test } from 'tap'
import auth from '../../src/plugins/auth.ts'
import { startClerk } from '../emulator/start-clerk.ts'
import { keptLogger } from '../helpers/run-log.ts'
import { startService } from '../helpers/service.ts'

const PRIVATE = { cache: 'no-store', vary: 'Authorization, Cookie' }
const cachingOf = (headers: Headers) => ({ cache: headers.get('cache-control'), vary: headers.get('vary') })

test('no cache may store replies for one user, including refusals and 503s', async (t) => {
  const { call, clerk, database } = await startService(t, { settings: { DASHBOARD_TOKEN: 'x'.repeat(24) } })
  const token = clerk.sessionToken(clerk.signIn(clerk.createUser().id).id)
  await clerk.webhooks.idle()
  const routes = [
    ['GET', '/api/auth/profile'],
    ['POST', '/api/auth/sync-user'],
    ['GET', '/api/auth/verify'],
    ['GET', '/api/auth/verify/x'],
  ] as const
  for (const [method, path] of routes) {
    for (const sent of [token, undefined, 'bad']) {
      t.strictSame(cachingOf((await call(path, { method, token: sent })).headers), PRIVATE, `${method} ${path} ${sent}`)
    }
  }
  t.strictSame(cachingOf((await call('/dashboard/api/overview?range=hour')).headers), PRIVATE)
  await database.query('alter table users rename column email to gone')
  const broken = await call('/api/auth/profile', { token })
  t.strictSame([broken.status, cachingOf(broken.headers)], [500, PRIVATE])
  t.strictSame(cachingOf((await call('/livez')).headers), { cache: null, vary: null }, 'what is for everybody stays so')
})

test('refusals before the guard are private too', async (t) => {
  const settings = { RATE_LIMIT_PER_MINUTE: '1', CORS_ORIGINS: 'https://app.example.com' }
  const { call } = await startService(t, { settings })
  await call('/api/auth/profile')
  const { status, headers } = await call('/api/auth/profile')
  t.strictSame([status, cachingOf(headers)], [429, { ...PRIVATE, vary: 'Origin, Authorization, Cookie' }])
})

test("on an application's own route the handler sets Cache-Control, and Vary always names the credentials", async (t) => {
  const clerk = await startClerk(t)
  const token = clerk.sessionToken(clerk.signIn(clerk.createUser().id).id)
  const app = Fastify(keptLogger())
  t.teardown(() => app.close())
  await app.register(auth, { issuer: clerk.issuer })
  app.get('/open', async () => 'open')
  const onRequest = app.requireClerkAuth()
  app.get('/plain', { onRequest }, async () => 'plain')
  app.get('/own', { onRequest }, async (_request, reply) =>
    reply.headers({ 'cache-control': 'private, max-age=60', vary: 'Accept, COOKIE' }).send('own'),
  )
  app.get('/star', { onRequest }, async (_request, reply) => reply.header('vary', '*').send('star'))
  app.register(async (scoped) => {
    scoped.addHook('onRequest', scoped.requireClerkAuth())
    scoped.get('/scoped', async () => 'scoped')
  })
  const ask = async (url: string, authorization = `Bearer ${token}`) => {
    const { headers } = await app.inject({ url, headers: { authorization } })
    return { cache: headers['cache-control'] ?? null, vary: headers.vary ?? null }
  }
  t.strictSame(await ask('/open'), { cache: null, vary: null })
  t.strictSame(await ask('/plain'), PRIVATE)
  t.strictSame(await ask('/plain', 'Bearer bad'), PRIVATE)
  t.strictSame(await ask('/scoped'), PRIVATE, 'guarded by a hook of its context')
  t.strictSame(await ask('/own'), { cache: 'private, max-age=60', vary: 'Accept, COOKIE, Authorization' })
  t.strictSame(await ask('/star'), { cache: 'no-store', vary: '*' })
})
