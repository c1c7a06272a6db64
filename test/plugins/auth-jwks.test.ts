import { randomUUID } from 'node:crypto'
import { type Test, test } from 'tap'
import type { JwksOptions } from '../../src/clerk/jwks.ts'
import { type ClerkEmulator, createClerkEmulator, type Fault } from '../../src/emulator/index.ts'
import { createDatabase } from '../helpers/database.ts'
import { eventually } from '../helpers/jwks-server.ts'
import { type Service, startService } from '../helpers/service.ts'

const HEALTH = '/api/auth/health'
const VERIFY = '/api/auth/verify'

interface Setup {
  fault?: Fault
  jwks?: Omit<JwksOptions, 'issuer' | 'log'>
}

/** A service whose first fetch of the keys meets the fault, and a user signed in long before. */
async function startWith(t: Test, { fault, jwks }: Setup = {}) {
  const clerk = await createClerkEmulator()
  t.teardown(() => clerk.close())
  const session = clerk.signIn(clerk.createUser().id)
  clerk.faults.jwks = fault
  const service = await startService(t, {
    beside: { clerk, database: await createDatabase(t) },
    change: (options) => ({ ...options, auth: { ...options.auth, jwks } }),
    hasSecretKey: false,
  })
  if (fault === undefined) await eventually(async () => (await keysCheck(service)).status === 'ok')
  return { ...service, token: (more = {}) => clerk.sessionToken(session.id, more) }
}

const keysCheck = async ({ call }: Pick<Service, 'call'>) => (await call(HEALTH)).body.checks.jwks
const forged = (clerk: ClerkEmulator, sessionId: string) =>
  clerk.sessionToken(sessionId, { kid: `forged-${randomUUID()}` })

const outages: Record<string, Fault> = {
  'answers 500': 'error',
  'accepts and says nothing': 'hang',
  'drips without end': 'drip',
  'sends a web page': 'html',
  'resets the connection': 'reset',
  'sends no key': { status: 200, headers: { 'content-type': 'application/json' }, body: '{"keys":[]}' },
}

for (const [name, fault] of Object.entries(outages)) {
  test(`a start while the endpoint ${name}: 503, never 401, and it recovers by itself`, async (t) => {
    const service = await startWith(t, { fault, jwks: { deadlineMs: 300, cooldownMs: 400 } })
    const { clerk, call, token } = service
    for (const path of [VERIFY, '/api/auth/profile']) {
      const { status, body, headers } = await call(path, { token: token() })
      t.match({ status, ...body }, { status: 503, statusCode: 503, code: 'JWKS_UNAVAILABLE' })
      t.match(headers.get('retry-after'), /^[1-9]\d*$/)
      t.equal(headers.get('www-authenticate'), null)
    }
    t.match(await call(VERIFY), { status: 401, body: { code: 'MISSING_TOKEN' } })
    const bad = token({ claims: { iss: 'https://evil.example' } })
    t.match(await call(VERIFY, { token: bad }), { status: 401 }, 'what is wrong without any key is so now')
    const health = await call(HEALTH)
    t.match(health, { status: 200, body: { status: 'degraded', checks: { jwks: { status: 'down', reason: /./ } } } })

    clerk.faults.jwks = undefined
    await eventually(async () => (await keysCheck(service)).status === 'ok')
    t.match(await call(VERIFY, { token: token() }), { status: 200 })
    t.match(await call(HEALTH), { status: 200, body: { checks: { jwks: { status: 'ok', latencyMs: Number } } } })
  })
}

test('a token that was refused because its key could not be fetched is accepted after the first fetch that succeeds', async (t) => {
  const service = await startWith(t, { fault: 'error', jwks: { cooldownMs: 100 } })
  const token = service.token()
  t.equal((await service.call(VERIFY, { token })).status, 503)
  service.clerk.faults.jwks = undefined
  await eventually(async () => (await keysCheck(service)).status === 'ok')
  t.equal((await service.call(VERIFY, { token })).status, 200)
})

test('while the endpoint is down, the last good keys are used; a kid that is not among them is 503', async (t) => {
  const service = await startWith(t, { jwks: { refreshIntervalMs: 30, cooldownMs: 60_000 } })
  const { clerk, call, token } = service
  t.equal((await call(VERIFY, { token: token() })).status, 200)
  clerk.faults.jwks = 'error'
  await eventually(async () => (await keysCheck(service)).status === 'degraded')
  t.match(await keysCheck(service), { status: 'degraded', reason: /previous keys/ })
  t.equal((await call(VERIFY, { token: token() })).status, 200, 'a token minted after the outage began')
  const unknown = await call(VERIFY, { token: token({ kid: 'ins_2unknown' }) })
  t.match(unknown, { status: 503, body: { code: 'JWKS_UNAVAILABLE' } })
  t.match(unknown.headers.get('retry-after'), /^[1-9]\d*$/)
})

test('a new key is accepted with its first token, and the old one until it is withdrawn', async (t) => {
  const service = await startWith(t)
  const { clerk, call, token } = service
  const old = token()
  t.equal((await call(VERIFY, { token: old })).status, 200)
  const { jwksRequests } = clerk.stats
  clerk.rotateKeys()
  const firsts = await Promise.all(Array.from({ length: 20 }, () => call(VERIFY, { token: token() })))
  t.strictSame(new Set(firsts.map(({ status }) => status)), new Set([200]))
  t.equal(clerk.stats.jwksRequests, jwksRequests + 1)
  t.equal((await call(VERIFY, { token: old })).status, 200)
})

test('a key that was withdrawn is refused after the refresh, also for tokens that were good before', async (t) => {
  const service = await startWith(t, { jwks: { refreshIntervalMs: 30 } })
  const { clerk, call, token } = service
  const old = token()
  for (const _ of [1, 2]) t.equal((await call(VERIFY, { token: old })).status, 200)
  clerk.rotateKeys({ keepOld: false })
  await eventually(async () => (await call(VERIFY, { token: old })).status !== 200)
  t.match(await call(VERIFY, { token: old }), { status: 401, body: { code: 'INVALID_TOKEN' } })
  t.equal((await call(VERIFY, { token: token() })).status, 200)
})

test('50 made-up kids at once cause one fetch, and no good token waits for it or is refused', async (t) => {
  const { clerk, call, token } = await startWith(t)
  const { id } = clerk.signIn(clerk.createUser().id)
  for (const round of [1, 2]) {
    const bad = Array.from({ length: 50 }, () => call(VERIFY, { token: forged(clerk, id) }))
    const good = Array.from({ length: 50 }, () => call(VERIFY, { token: token() }))
    t.strictSame(new Set((await Promise.all(good)).map(({ status }) => status)), new Set([200]))
    const answers = (await Promise.all(bad)).map(({ status, body }) => `${status} ${body.code}`)
    for (const answer of answers) t.match(answer, /^(401 INVALID_TOKEN|503 JWKS_UNAVAILABLE)$/)
    t.equal(answers.includes('401 INVALID_TOKEN'), round === 1, 'the look was made for those of the first round')
  }
  t.equal(clerk.stats.jwksRequests, 2, 'the first set, and one look')
})
