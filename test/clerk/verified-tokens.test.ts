import fc from 'fast-check'
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

test('a full store forgets its older half, and never one of the newer half', async (t) => {
  const tokens = createVerifiedTokens({ ...limits, tokens: 4 })
  const keep = (...names: string[]) => {
    for (const name of names) tokens.keep(name, verdict(`user_${name}`))
  }
  const found = () => ['a', 'b', 'c', 'd', 'e'].filter((name) => tokens.find(name, 0)?.token.userId === `user_${name}`)
  keep('a', 'b', 'c')
  t.strictSame(found(), ['a', 'b', 'c'])
  keep('a', 'd')
  t.strictSame(found(), ['a', 'c', 'd'])
  keep('e')
  t.strictSame(found(), ['a', 'c', 'd', 'e'])
  t.equal(tokens.size, 4)
})

test('the store is bounded, in tokens and in bytes, whatever is kept', async () => {
  const credential = fc
    .tuple(fc.nat(9), fc.integer({ min: 1, max: 120 }))
    .map(([n, length]) => `${n}`.padStart(length, '.'))
  fc.assert(
    fc.property(fc.array(credential, { maxLength: 60 }), (credentials) => {
      const tokens = createVerifiedTokens({ tokens: 6, bytes: 200 })
      for (const text of credentials) {
        tokens.keep(text, verdict('user_a'))
        const isShort = text.length <= 100
        if ((tokens.find(text, 0) !== undefined) !== isShort || tokens.size > 6) return false
      }
      const kept = new Set(credentials.filter((text) => tokens.find(text, 0)))
      return [...kept].reduce((bytes, { length }) => bytes + length, 0) <= 200
    }),
  )
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
