import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type Test, test } from 'tap'
import { createClerkEmulator } from '../../src/emulator/index.ts'
import {
  at,
  claims,
  good,
  headerForms,
  headers,
  keys,
  nowSeconds,
  PARTY,
  payloads,
  type Row,
  signer,
  stranger,
  tokenForms,
  withOptionalParties,
  withParties,
  withTemplates,
} from '../fixtures/credentials.ts'
import { createDatabase } from '../helpers/database.ts'
import { sendRaw } from '../helpers/raw-http.ts'
import { startService } from '../helpers/service.ts'
import { listKey } from '../helpers/signer.ts'

const parties = { CLERK_AUTHORIZED_PARTIES: `https://www.example.com, ${PARTY}` }
const tables: [settings: Record<string, string>, rows: Row[]][] = [
  [{}, [...headerForms, ...tokenForms, ...headers, ...payloads, ...claims, ...keys]],
  [parties, withParties],
  [{ ...parties, CLERK_AZP_OPTIONAL: 'true' }, withOptionalParties],
  [{ CLERK_JWT_TEMPLATES: 'true' }, withTemplates],
]

test('every bad credential is refused with its code, and never quoted', async (t) => {
  const realNow = Date.now
  Date.now = () => nowSeconds * 1000
  t.teardown(() => {
    Date.now = realNow
  })
  const trap = await startTrap(t)
  const clerk = await createClerkEmulator()
  t.teardown(() => clerk.close())
  await listKey(clerk, signer)
  Object.assign(at, { issuer: clerk.issuer, trap: trap.url })
  const beside = { clerk, database: await createDatabase(t) }
  const log: string[] = []
  const secrets = new Set<string>()

  for (const [settings, rows] of tables) {
    const { url, call } = await startService(t, {
      beside,
      settings,
      hasSecretKey: false,
      log: (line) => log.push(line),
    })
    const assertGood = async () => t.match(await call('/api/auth/profile', { token: good() }), { status: 200 })
    await assertGood()
    for (const [name, make, expected] of rows) {
      const made = make()
      const lines = typeof made === 'string' ? [`Authorization: Bearer ${made}`] : made
      const secretsHere = lines.join().match(/[\w-]{20,}/g) ?? []
      for (const secret of secretsHere) secrets.add(secret)
      await t.test(name, (t) => assertAnswer(t, url, lines, secretsHere, expected))
    }
    await assertGood()
  }

  t.equal(clerk.stats.jwksRequests, tables.length + 1, 'one look, for the kid that no set has')
  t.equal(trap.hits, 0, 'no address in a token was asked')
  const text = log.join('')
  t.match(text, '"statusCode":401', 'there is a log')
  t.strictSame(mentioned(secrets, text), [], 'no part of a token is in it')
  t.notMatch(text, 'injected')
  const broken = log.filter((line) => line.indexOf('\n') !== line.length - 1)
  t.strictSame(broken, [], 'a line of it is one line')
  t.strictSame(
    log.filter((line) => JSON.parse(line).level >= 50),
    [],
    'nothing went wrong',
  )
})

const mentioned = (secrets: Iterable<string>, text: string) => [...secrets].filter((secret) => text.includes(secret))

const STATUS: Record<string, number> = { SESSION_PENDING: 403, JWKS_UNAVAILABLE: 503 }

async function assertAnswer(
  t: Test,
  url: string,
  lines: string[],
  secrets: Iterable<string>,
  expected: number | string,
) {
  const reply = await sendRaw(`${url}/api/auth/verify`, { headers: lines })
  t.strictSame(mentioned(secrets, JSON.stringify(reply)), [], 'no part of the token comes back')
  if (typeof expected === 'number') {
    t.equal(reply.status, expected)
    t.equal(reply.headers['x-auth-request-user']?.join(), expected === 200 ? 'user_2good' : undefined)
    return
  }
  const isCode = /^[A-Z_]+$/.test(expected)
  const code = isCode ? expected : 'INVALID_TOKEN'
  const status = STATUS[code] ?? 401
  t.equal(reply.status, status)
  t.strictSame(reply.headers['x-auth-request-user'], [''])
  const body = JSON.parse(reply.body)
  t.match(body, { statusCode: status, code, requestId: /./ })
  t.strictSame(Object.keys(body), ['statusCode', 'code', 'error', 'message', 'requestId'])
  if (!isCode) t.equal(body.message, `The session token is not valid: ${expected}`)
  const attributes = code === 'MISSING_TOKEN' ? '' : ` error="invalid_token", error_description="${body.message}"`
  t.equal(reply.headers['www-authenticate']?.join(), status === 401 ? `Bearer${attributes}` : undefined)
  t.match(String(reply.headers['retry-after']), status === 503 ? /^([2-9]|[12]\d|30)$/ : /^undefined$/)
}

/** A server that would say what a forger wants to hear. */
async function startTrap(t: Test) {
  const trap = { url: '', hits: 0 }
  const server = createServer((_request, response) => {
    trap.hits += 1
    response.end(JSON.stringify({ keys: [stranger.jwk] }))
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  t.teardown(() => server.close())
  trap.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks.json`
  return trap
}
