/** The rehearsal of SECURITY.md's table: each mistake is made on a database with users, and costs no row. */
import tap, { type Test, test } from 'tap'
import { createClerkEmulator } from '../../src/emulator/index.ts'
import { startCommandLine } from '../helpers/command-line.ts'
import type { TestDatabase } from '../helpers/database.ts'
import { freePorts, runNode } from '../helpers/process.ts'
import { createProduction } from '../helpers/production.ts'
import { forbidInstance } from '../helpers/run-log.ts'
import { startService } from '../helpers/service.ts'
import { waitUntil } from '../helpers/wait-until.ts'

tap.setTimeout(900_000)

const rowsOf = (database: TestDatabase) => database.query('select * from users order by id')

/** Another Clerk instance, with users of its own. */
async function startOther(t: Test) {
  const other = await createClerkEmulator()
  forbidInstance(t, other)
  t.teardown(() => other.close())
  for (let i = 0; i < 5; i += 1) other.createUser()
  return other
}

test('no command writes rows with a secret key of another instance', async (t) => {
  const { clerk, database, env, run } = await startCommandLine(t)
  const users = Array.from({ length: 8 }, () => clerk.createUser())
  t.equal((await run('backfill')).code, 0)
  const before = await rowsOf(database)
  t.equal(before.length, users.length)
  const { secretKey, apiUrl, instanceId } = await startOther(t)
  Object.assign(env, { CLERK_SECRET_KEY: secretKey, CLERK_API_URL: apiUrl })
  for (const args of [['reconcile', '--fix'], ['backfill'], ['sync', String(users[0]?.id)]]) {
    const { code, output } = await run(...args)
    t.equal(code, 1, args.join(' '))
    t.match(output, /CLERK_SECRET_KEY belongs to another Clerk instance .* than CLERK_ISSUER/)
    t.match(output, instanceId)
    t.notMatch(output, secretKey)
    t.strictSame(await rowsOf(database), before)
  }
  const doctor = await run('doctor', '--json')
  t.match(
    doctor.json.checks.find(({ name }: { name: string }) => name === 'instance'),
    { status: 'fail' },
  )
  t.strictSame(await rowsOf(database), before)
})

test("key and issuer of another instance are refused by the database's instance, until it is adopted", async (t) => {
  const { clerk, database, env, run } = await startCommandLine(t)
  for (let i = 0; i < 8; i += 1) clerk.createUser()
  t.equal((await run('backfill')).code, 0)
  const before = await rowsOf(database)
  const other = await startOther(t)
  Object.assign(env, { CLERK_SECRET_KEY: other.secretKey, CLERK_API_URL: other.apiUrl, CLERK_ISSUER: other.issuer })
  const { code, output } = await run('reconcile', '--fix')
  t.equal(code, 1)
  for (const part of ['CLERK_SECRET_KEY', 'DATABASE_URL', other.instanceId, clerk.instanceId, '--adopt-instance']) {
    t.match(output, part)
  }
  t.strictSame(await rowsOf(database), before)
  t.match(await run('migrate', '--adopt-instance'), { code: 0, output: other.instanceId })
  t.equal((await run('backfill')).code, 0)
  t.equal((await rowsOf(database)).length, before.length + 5)
})

test('in production the service does not start with a key of another instance, and starts without an API', async (t) => {
  const production = await createProduction(t)
  const { clerk, database } = production
  const ada = clerk.createUser()
  const first = await production.start()
  const token = clerk.sessionToken(clerk.signIn(ada.id).id)
  const call = await fetch(`${first.url}/api/auth/profile`, { headers: { authorization: `Bearer ${token}` } })
  t.equal(call.status, 200)
  first.child.kill('SIGTERM')
  await first.exit
  const before = await rowsOf(database)
  const other = await startOther(t)
  const env = {
    NODE_ENV: 'production',
    HOST: '127.0.0.1',
    PORT: String(await freePorts()),
    RECONCILE_INTERVAL_MINUTES: '1',
    DATABASE_URL: database.url,
    CLERK_ISSUER: clerk.issuer,
    CLERK_API_URL: other.apiUrl,
    CLERK_SECRET_KEY: other.secretKey,
    CLERK_WEBHOOK_SIGNING_SECRET: clerk.webhookSecret,
  }
  const wrong = runNode(t, ['src/server.ts'], env)
  t.equal(await wrong.exit, 1)
  t.match(wrong.output(), /CLERK_SECRET_KEY belongs to another Clerk instance/)
  const invalid = runNode(t, ['src/server.ts'], {
    ...env,
    CLERK_API_URL: clerk.apiUrl,
    CLERK_SECRET_KEY: 'sk_live_wrong',
  })
  t.equal(await invalid.exit, 1)
  t.match(invalid.output(), /CLERK_SECRET_KEY is not valid/)
  const cutOff = runNode(t, ['src/server.ts'], { ...env, CLERK_API_URL: 'http://127.0.0.1:9' })
  await cutOff.until(/Server listening/)
  cutOff.child.kill('SIGTERM')
  t.strictSame(await rowsOf(database), before)
})

test('events of another instance are ignored, counted and reported; events without an instance are applied', async (t) => {
  const other = await startOther(t)
  const service = await startService(t, { settings: {} })
  const { clerk, call, database } = service
  const ada = clerk.createUser()
  await waitUntil('the user', async () => (await rowsOf(database)).length === 1)
  const before = await rowsOf(database)
  const admin = other.createUser({ publicMetadata: { role: 'admin' } })
  other.webhooks.url = clerk.webhooks.url
  for (const [type, data] of [
    ['user.created', admin],
    ['user.deleted', { id: ada.id, object: 'user', deleted: true }],
    ['user.updated', { id: 5 }],
  ] as const) {
    const { attempts } = await other.webhooks.send(type, data, { secret: clerk.webhookSecret })
    t.match(attempts.at(-1), { status: 200, body: /ignored/ })
  }
  t.strictSame(await rowsOf(database), before)
  const [event] = await database.query(`select * from webhook_events where object_id = '${admin.id}'`)
  t.match(event, { outcome: 'ignored', instance_id: other.instanceId, payload: null })
  t.match(event?.error, `from another Clerk instance: ${other.instanceId}; the database belongs to ${clerk.instanceId}`)
  t.match((await call('/api/auth/health')).body, {
    status: 'degraded',
    checks: { webhooks: { status: 'degraded', reason: other.instanceId } },
  })
  t.match((await call('/metrics')).body, /webhook_foreign_total 3/)
  const body = JSON.stringify({ type: 'user.deleted', timestamp: Date.now(), data: { id: ada.id } })
  const headers = { 'content-type': 'application/json', ...clerk.sign(body) } as Record<string, string>
  t.match(await call('/clerk', { method: 'POST', headers, body }), { status: 200, body: { outcome: 'applied' } })
})

test('a user that the API did not list for a moment comes back', async (t) => {
  const { clerk, database, run } = await startCommandLine(t)
  const ada = clerk.createUser({ firstName: 'Ada' })
  t.equal((await run('backfill')).code, 0)
  // As an inference left it.
  await database.query(`update users set deleted_at = now(), sync_source = 'clerk_api', first_name = null`)
  t.match(await run('user', ada.id), { code: 1 })
  const { code, json } = await run('reconcile', '--fix', '--json')
  t.equal(code, 0)
  t.match(json.drift.missing, { count: 1, repaired: 1 })
  t.match(await database.query('select first_name, deleted_at from users'), [{ first_name: 'Ada', deleted_at: null }])
})

test('events that a wrong clock dates in the future are stored as failed, and change no row', async (t) => {
  const { clerk, call, database } = await startService(t)
  const ada = clerk.createUser({ firstName: 'Ada' })
  await clerk.webhooks.idle()
  const before = await rowsOf(database)
  const ahead = Date.now() + 2 * 86_400_000
  for (const [id, type, data] of [
    ['msg_1', 'user.updated', { id: ada.id, updated_at: ahead, first_name: 'From the future' }],
    ['msg_2', 'user.deleted', { id: ada.id, deleted: true }],
  ] as const) {
    const body = JSON.stringify({ type, timestamp: ahead, data })
    const headers = { 'content-type': 'application/json', ...clerk.sign(body, { id }) }
    const { status, body: reply } = await call('/clerk', { method: 'POST', body, headers })
    t.match({ status, code: reply.code }, { status: 422, code: 'WEBHOOK_PAYLOAD_INVALID' })
  }
  t.strictSame(await rowsOf(database), before)
  t.strictSame(await database.query(`select id from webhook_events where outcome = 'failed' order by id`), [
    { id: 'msg_1' },
    { id: 'msg_2' },
  ])
})
