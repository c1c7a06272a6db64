import { generateKeyPairSync } from 'node:crypto'
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Test, test } from 'tap'
import { prepareClerk } from '../../src/cli/dev-clerk.ts'
import { loadConfig } from '../../src/config.ts'
import { createClerkEmulator } from '../../src/emulator/index.ts'
import { createDatabase } from '../helpers/database.ts'
import { freePorts, ROOT, runNode } from '../helpers/process.ts'
import { waitUntil } from '../helpers/wait-until.ts'

const CLI = join(ROOT, 'src/cli/index.ts')

/** A Clerk instance with three users, as another process would be: `dev` knows its keys only. */
async function startClerk(t: Test) {
  const clerk = await createClerkEmulator({ tokenTtlSeconds: 3_600 })
  t.teardown(() => clerk.close())
  clerk.seedUsers(3)
  const keys = {
    CLERK_PUBLISHABLE_KEY: clerk.publishableKey,
    CLERK_SECRET_KEY: clerk.secretKey,
    // Of Clerk's own both follow from the key.
    CLERK_ISSUER: clerk.issuer,
    CLERK_API_URL: clerk.apiUrl,
  }
  return { clerk, keys }
}

function workFolder(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'clerk-session-sync-keys-'))
  chmodSync(folder, 0o711)
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

test('with two keys dev works: it shows instance, users, keys, webhooks and what to call, and applies changes', async (t) => {
  const { clerk, keys } = await startClerk(t)
  const cwd = workFolder(t)
  const port = await freePorts()
  const url = `http://127.0.0.1:${port}`
  const run = runNode(t, [CLI, 'dev'], { PORT: String(port), ...keys }, { cwd })
  await run.until(/Press Ctrl-C to stop everything/)
  const steps = [
    'starting PostgreSQL',
    'connecting to Clerk',
    'copying users: ',
    'starting the service',
    `Clerk instance  ${clerk.instanceId} (development), ${clerk.issuer}`,
    'users           3 at Clerk, 3 here',
    'signing keys    1, fetched from the issuer',
    'webhooks        off, Clerk is asked every 5 s what changed. To turn them on: clerk webhooks listen --forward-to',
    'call            curl -H "Authorization: Bearer <session token>"',
  ]
  const places = steps.map((step) => run.output().indexOf(step))
  t.strictSame(
    places,
    places.toSorted((a, b) => a - b),
    'in this order',
  )
  t.ok(
    places.every((at) => at >= 0),
    'all of them',
  )

  const profile = async (id: string) => {
    const headers = { authorization: `Bearer ${clerk.sessionToken(clerk.signIn(id).id)}` }
    const reply = await fetch(`${url}/api/auth/profile`, { headers })
    return (await reply.json()) as { user: { firstName: string; email: string } }
  }
  const [ada] = [...clerk.users()]
  t.equal((await profile(ada?.id as string)).user.email, 'seed-0@example.com')
  // No webhook is sent for it.
  clerk.updateUser(ada?.id as string, { firstName: 'Ada' })
  await waitUntil('the change', async () => (await profile(ada?.id as string)).user.firstName === 'Ada')
  run.child.kill('SIGINT')
  t.equal(await run.exit, 0)
})

test('a key of another instance, or an invalid one, ends dev with a message that says which', async (t) => {
  const { keys } = await startClerk(t)
  const { clerk: other } = await startClerk(t)
  const start = async (more: Record<string, string>) => {
    const run = runNode(t, [CLI, 'dev'], { PORT: String(await freePorts()), ...keys, ...more }, { cwd: workFolder(t) })
    t.equal(await run.exit, 1)
    t.notMatch(run.output(), /\n\s+at |sk_test/)
    return run.output()
  }
  const another = await start({ CLERK_SECRET_KEY: other.secretKey, CLERK_API_URL: other.apiUrl })
  t.match(another, /CLERK_SECRET_KEY belongs to another Clerk instance \(.+\) than CLERK_ISSUER/)
  t.match(await start({ CLERK_SECRET_KEY: 'sk_test_none' }), /401.+: CLERK_SECRET_KEY is not valid/)
})

/** A stand-in for Clerk that knows neither keys nor instance. */
async function startStandIn(t: Test, apiUrl: string): Promise<string> {
  const server = createServer(async ({ url = '', headers }, response) => {
    if (/^\/v1\/(instance|jwks)/.test(url)) return void response.writeHead(404).end('{}')
    const reply = await fetch(apiUrl + url, { headers: { authorization: String(headers.authorization) } })
    response.writeHead(reply.status, { 'content-type': 'application/json' }).end(await reply.text())
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  t.teardown(() => server.close())
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

test('the messages about users and webhooks, in every state', async (t) => {
  const { clerk, keys } = await startClerk(t)
  const database = await createDatabase(t)
  const { signal } = new AbortController()
  const prepare = (more: Record<string, string> = {}) =>
    prepareClerk(loadConfig({ NODE_ENV: 'test', DATABASE_URL: database.url, ...keys, ...more }), signal)
  const [, users, , webhooks] = await prepare({ CATCH_UP_INTERVAL_SECONDS: '0' })
  t.equal(users, 'users           3 at Clerk, 3 here')
  t.match(webhooks, 'off, and catch-up is off too')
  clerk.createUser()
  const again = await prepare({ CLERK_WEBHOOK_SIGNING_SECRET: clerk.webhookSecret })
  t.match(again[1], '4 at Clerk, 3 here', 'the catch-up brings the rest')
  t.match(again[3], 'on: CLERK_WEBHOOK_SIGNING_SECRET is set')
  const { publicKey } = generateKeyPairSync('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  })
  await t.rejects(prepare({ CLERK_JWT_KEY: publicKey }), /CLERK_JWT_KEY/)
  t.match((await prepare({ CLERK_JWT_KEY: clerk.jwtKey }))[2], 'signing keys    CLERK_JWT_KEY')
  t.match(await prepare({ CLERK_API_URL: await startStandIn(t, clerk.apiUrl) }), [
    /^Clerk instance {2}unknown, /,
    /4 at Clerk/,
    /fetched from the issuer/,
  ])
  clerk.faults.api = 'error'
  t.match(await prepare(), [/^Clerk {11}unreachable \(status 5\d\d\): users are synced as soon as it answers$/])
})
