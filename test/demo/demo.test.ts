import { once } from 'node:events'
import { readdirSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import Fastify from 'fastify'
import { type Test, test } from 'tap'
import { loadConfig } from '../../src/config.ts'
import { demoApp } from '../../src/demo/app.ts'
import { buildDemo } from '../../src/demo/build.ts'
import { createFeed, type DemoEvent } from '../../src/demo/feed.ts'
import { createGate } from '../../src/demo/gate.ts'
import { recordRepository } from '../../src/demo/recorder.ts'
import { createClerkEmulator } from '../../src/emulator/index.ts'
import { appOptions, serverOptions } from '../../src/server.ts'
import { createDatabase } from '../helpers/database.ts'
import { ROOT, runNode } from '../helpers/process.ts'
import { keptLogger } from '../helpers/run-log.ts'
import { waitUntil } from '../helpers/wait-until.ts'

/** The service with the demo round it, and everything that its feed says. */
async function startDemo(t: Test) {
  const database = await createDatabase(t)
  const clerk = await createClerkEmulator()
  t.teardown(() => clerk.close())
  const directory = t.testdir({
    'index.html': '<!doctype html><title>demo</title>',
    assets: { 'a.js': 'run()', 'a.css': 'a{}', 'a.map': '{}' },
  })
  const config = loadConfig({
    NODE_ENV: 'test',
    LOG_LEVEL: 'silent',
    DATABASE_URL: database.url,
    CLERK_ISSUER: clerk.issuer,
    CLERK_API_URL: clerk.apiUrl,
    CLERK_SECRET_KEY: clerk.secretKey,
    CLERK_WEBHOOK_SIGNING_SECRET: clerk.webhookSecret,
    // As `npm run dev` sets it beside the emulator.
    CATCH_UP_INTERVAL_SECONDS: '0',
  })
  const app = Fastify({ ...serverOptions(config), ...keptLogger() })
  await app.register(demoApp(directory), appOptions(config))
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  t.teardown(() => app.close())
  clerk.webhooks.url = `${url}/clerk`
  const call = (path: string, token?: string, init?: RequestInit) =>
    fetch(url + path, { ...init, headers: { ...init?.headers, ...(token && { authorization: `Bearer ${token}` }) } })
  const stream = await fetch(`${url}/demo/api/events`)
  const events: DemoEvent[] = []
  const reading = (async () => {
    let text = ''
    for await (const chunk of stream.body as ReadableStream) {
      text += Buffer.from(chunk).toString('utf8')
      const messages = text.split('\n\n')
      text = messages.pop() as string
      for (const message of messages) if (message.startsWith('data: ')) events.push(JSON.parse(message.slice(6)))
    }
  })()
  const until = (what: string, isIt: (event: DemoEvent) => boolean) => waitUntil(what, async () => events.some(isIt))
  return { app, clerk, url, call, events, until, reading }
}

test('the feed says what the service, its database and its webhooks did', async (t) => {
  const { clerk, call, events, until } = await startDemo(t)
  clerk.webhooks.dropNext(3)
  const ada = clerk.createUser({ firstName: 'Ada' })
  const session = clerk.signIn(ada.id)
  const token = clerk.sessionToken(session.id)
  t.equal((await call('/demo/api/old-backend/profile', token)).status, 401, 'as if the token were bad')
  t.equal((await call('/api/auth/sync-user', token, { method: 'POST' })).status, 201)
  t.equal((await call('/demo/api/old-backend/profile', token)).status, 200)
  await until('the second look', ({ label, status }) => label === 'GET /demo/api/old-backend/profile' && status === 200)
  t.match(
    events.filter(({ lane }) => lane === 'database').map(({ label, outcome }) => [label, outcome]),
    [
      ['read the row', 'no row'],
      ['read the row', 'no row'],
      ['write the row', 'applied'],
      ['read the row', 'found'],
    ],
  )
  for (const { userId } of events) t.equal(userId, ada.id)

  clerk.revokeSession(session.id)
  await until('the webhook', ({ lane, label }) => lane === 'webhook' && label === 'session.revoked')
  t.match(events.at(-1), { lane: 'webhook', status: 200, outcome: 'applied', userId: ada.id })
  t.equal((await call('/api/auth/profile', token)).status, 401)
  await until('the refusal', ({ outcome }) => outcome === 'SESSION_REVOKED')
  t.ok(events.some(({ outcome }) => outcome === 'session revoked'))

  clerk.deleteUser(ada.id)
  await until('the deletion', ({ lane, label }) => lane === 'webhook' && label === 'user.deleted')
  t.equal((await call('/api/auth/profile', token)).status, 403)
  await until('its refusal', ({ outcome }) => outcome === 'USER_DELETED')
  t.ok(events.some(({ lane, outcome }) => lane === 'database' && outcome === 'deleted'))

  const before = events.length
  await call('/nowhere')
  await call('/api/auth/health')
  await call('/api/auth/profile')
  await until('a call without a token', ({ outcome }) => outcome === 'MISSING_TOKEN')
  t.equal(events.length, before + 1, 'what is no part of a story is left out')
  await call('/clerk', undefined, { method: 'POST', body: 'no JSON', headers: { 'content-type': 'application/json' } })
  await until('what Clerk did not send', ({ outcome }) => outcome === 'WEBHOOK_HEADERS_MISSING')
})

test('the database is stopped for a while, and recovers', async (t) => {
  const { clerk, call, events, until } = await startDemo(t)
  clerk.webhooks.enabled = false
  const token = clerk.sessionToken(clerk.signIn(clerk.createUser().id).id)
  t.equal((await call('/api/auth/profile', token)).status, 200)
  const stop = (ms: number) =>
    call('/demo/api/database/stop', undefined, {
      method: 'POST',
      body: JSON.stringify({ ms }),
      headers: { 'content-type': 'application/json' },
    })
  t.equal((await stop(60_000)).status, 400, 'not for long')
  t.equal((await stop(10_000)).status, 204)
  const refused = await call('/api/auth/profile', token)
  t.equal(refused.status, 503)
  t.ok(refused.headers.get('retry-after'))
  await until('the refusal', ({ lane, outcome }) => lane === 'database' && outcome === 'DATABASE_UNAVAILABLE')
  t.match(
    events.find(({ label }) => label === 'stopped'),
    { lane: 'database', durationMs: 10_000 },
  )
  t.equal((await stop(1)).status, 204)
  await waitUntil('the database', async () => (await call('/api/auth/profile', token)).status === 200)
})

test('the page has a strict policy, and does not delay the end of the service', async (t) => {
  const { app, clerk, call, reading } = await startDemo(t)
  for (const path of ['/demo', '/demo/']) {
    const page = await call(path)
    t.equal(page.headers.get('content-type'), 'text/html; charset=utf-8')
    const policy = page.headers.get('content-security-policy') ?? ''
    t.match(policy, /default-src 'none'/)
    t.match(policy, `connect-src 'self' ${clerk.url}`)
    t.notMatch(policy, /unsafe|https?:\/\/(?!127\.0\.0\.1)/)
  }
  t.equal(await (await call('/demo/assets/a.js')).text(), 'run()')
  t.equal((await call('/demo/assets/a.map')).status, 404, 'only what a page needs')
  t.same(await (await call('/demo/api/world')).json(), { clerkUrl: clerk.url })
  const { paths } = (await (await call('/docs/json')).json()) as { paths: object }
  t.notOk(
    Object.keys(paths).some((path) => path.startsWith('/demo')),
    'the API reference knows nothing of it',
  )
  await app.close()
  await reading
})

test("the demo's proxy closes connections if its target is down", async (t) => {
  const gate = await createGate('postgres://postgres@127.0.0.1:1/test')
  t.teardown(gate.close)
  const socket = connect(Number(new URL(gate.url).port), '127.0.0.1')
  await once(socket, 'close')
  const usual = await createGate('postgres://postgres@127.0.0.1/test')
  t.not(new URL(usual.url).port, '')
  await usual.close()
})

test('a change that the database refuses is recorded as refused', async (t) => {
  const feed = createFeed()
  const events: DemoEvent[] = []
  feed.follow((event) => events.push(event))
  const repository = { apply: async () => ({ error: new Error('no') }), findAuthState: async () => ({}) }
  recordRepository(repository as never, feed)
  await (repository.apply as (change: object) => Promise<unknown>)({ session: { userId: 'user_1' } })
  t.match(events, [{ label: 'write the row', outcome: 'refused', userId: 'user_1' }])
})

test('the page is built where its sources are', async (t) => {
  const directory = t.testdir()
  writeFileSync(join(directory, 'old.js'), '')
  t.equal(await buildDemo(directory, join(directory, 'nothing')), false, 'an installed package has none')
  t.equal(await buildDemo(directory), true)
  t.strictSame(readdirSync(directory).sort(), ['assets', 'icon.svg', 'index.html'])
})

test('the host of the demo says why it cannot start', async (t) => {
  const run = runNode(t, [join(ROOT, 'src/demo/server.ts')], { NODE_ENV: 'production' }, { cwd: t.testdir() })
  t.equal(await run.exit, 1)
  t.match(run.output(), /DATABASE_URL is missing/)
})

test("the demo's feed has a lane for changes, and shows each once", async (t) => {
  const { clerk, call, events } = await startDemo(t)
  const ada = clerk.createUser()
  const token = clerk.sessionToken(clerk.signIn(ada.id).id)
  await Promise.all([
    call('/api/auth/sync-user', token, { method: 'POST' }),
    call('/api/auth/profile', token),
    clerk.webhooks.idle(),
  ])
  const told = () => events.filter(({ lane }) => lane === 'feed')
  await waitUntil('the change', async () => told().length > 0)
  clerk.updateUser(ada.id, { firstName: 'Ada' })
  await waitUntil('the update', async () => told().some(({ label }) => label === 'user.updated'))
  t.strictSame(
    told()
      .filter(({ label }) => label === 'user.created')
      .map(({ userId }) => userId),
    [ada.id],
  )
  t.match(told().at(-1), { label: 'user.updated', outcome: /first_name/, userId: ada.id })
})
