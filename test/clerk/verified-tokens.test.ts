import { test } from 'tap'
import { createVerifiedTokens, type VerifiedToken } from '../../src/clerk/verified-tokens.ts'
import { readSessionToken } from '../../src/domain/session-token.ts'
import { startService } from '../helpers/service.ts'

const limits = { tokens: 10, bytes: 10_000 }
const verdict = (userId: string, validUntilMs = 1_000): VerifiedToken => ({
  token: readSessionToken({ alg: 'RS256' }, { sub: userId }),
  kid: 'ins_1',
  pem: 'PEM',
  validUntilMs,
})

test('a verdict is for the whole credential and ends with its validity', async (t) => {
  const tokens = createVerifiedTokens(limits)
  tokens.keep('a.b.c', verdict('user_a'))
  t.match(tokens.find('a.b.c', 1_000), { token: { userId: 'user_a' } })
  t.equal(tokens.find('a.b.c', 1_001), undefined)
  t.equal(tokens.find('a.b.', 0), undefined)
})

test('another token with the same signature is not that token', async (t) => {
  const tokens = createVerifiedTokens(limits)
  const signature = 's'.repeat(342)
  tokens.keep(`header.payload.${signature}`, verdict('user_a'))
  t.equal(tokens.find(`header.forged.${signature}`, 0), undefined)
  t.match(tokens.find(`header.payload.${signature}`, 0), { token: { userId: 'user_a' } })
})

test('the store is bounded, and the oldest goes first', async (t) => {
  const tokens = createVerifiedTokens({ ...limits, tokens: 2 })
  for (const name of ['a', 'b', 'a', 'c']) tokens.keep(name, verdict(`user_${name}`))
  t.equal(tokens.size, 2)
  t.equal(tokens.find('b', 0), undefined)
  t.ok(tokens.find('a', 0) && tokens.find('c', 0))
})

test('the store is bounded in bytes, too, which long tokens would fill', async (t) => {
  const tokens = createVerifiedTokens({ tokens: 10, bytes: 100 })
  const credential = (name: string, length: number) => name.padStart(length, '.')
  for (const name of ['a', 'b', 'c', 'c']) tokens.keep(credential(name, 40), verdict(`user_${name}`))
  t.equal(tokens.size, 2)
  t.equal(tokens.find(credential('a', 40), 0), undefined)
  tokens.keep(credential('d', 101), verdict('user_d'))
  t.equal(tokens.find(credential('d', 101), 0), undefined, 'one that never fits pushes nobody out')
  t.equal(tokens.size, 2)
  tokens.keep(credential('e', 100), verdict('user_e'))
  t.equal(tokens.size, 1)
})

test('a verdict ends with its key, and a cookie needs more than a bearer token', async (t) => {
  const { clerk, call } = await startService(t, {
    settings: { CLERK_AUTHORIZED_PARTIES: 'http://localhost:5173', CLERK_AZP_OPTIONAL: 'true' },
    change: (options) => ({
      ...options,
      auth: { ...options.auth, jwks: { refreshIntervalMs: 50, cooldownMs: 60_000 } },
    }),
  })
  const session = clerk.signIn(clerk.createUser({}).id)
  const token = clerk.sessionToken(session.id, { omit: ['azp'] })
  for (const time of ['first', 'second'])
    t.equal((await call('/api/auth/profile', { token })).status, 200, `${time} time`)
  const cookie = await call('/api/auth/profile', { headers: { cookie: `__session=${token}` } })
  t.match(cookie, { status: 401, body: { code: 'INVALID_TOKEN' } }, 'the bearer verdict does not hold for the cookie')

  clerk.rotateKeys({ keepOld: false })
  let last = await call('/api/auth/profile', { token })
  while (last.status === 200) last = await call('/api/auth/profile', { token })
  t.match(last.status.toString(), /401|503/, 'refused once the refresh has found its key withdrawn')
})
