import Fastify from 'fastify'
import { test } from 'tap'
import { createClerkEmulator } from '../src/emulator/index.ts'
import clerkSessionSync, { clerkAuth, clerkDatabase, clerkUserSync, clerkWebhooks } from '../src/index.ts'
import { createDatabase } from './helpers/database.ts'
import { keptLogger } from './helpers/run-log.ts'

test('the whole service mounts in any Fastify app with its two required options', async (t) => {
  const { url } = await createDatabase(t)
  const clerk = await createClerkEmulator()
  const app = Fastify(keptLogger())
  t.teardown(async () => {
    await app.close()
    await clerk.close()
  })
  await app.register(clerkSessionSync, { database: { connectionString: url }, auth: { issuer: clerk.issuer } })
  app.get('/mine', { onRequest: app.requireClerkUser() }, async (request) => ({ hello: request.clerkUser?.id }))
  const session = clerk.signIn(clerk.createUser({}).id)
  const headers = { authorization: `Bearer ${clerk.sessionToken(session.id)}` }
  t.match((await app.inject({ url: '/mine', headers })).json(), { hello: session.user_id })
  t.equal((await app.inject('/mine')).statusCode, 401)
  t.equal((await app.inject({ method: 'POST', url: '/clerk' })).statusCode, 404, 'no webhooks without a secret')
  t.notOk('stack' in (await app.inject('/mine')).json())
})

test('each plugin is exported', async (t) => {
  for (const plugin of [clerkAuth, clerkDatabase, clerkUserSync, clerkWebhooks]) t.type(plugin, 'function')
})
