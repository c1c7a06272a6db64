/** The native check accepts nothing that @fastify/jwt, with all rules, would refuse. */
import fc from 'fast-check'
import Fastify from 'fastify'
import { type Test, test } from 'tap'
import { createNativeTokens } from '../../src/clerk/native-tokens.ts'
import type { TokenRules } from '../../src/domain/session-token.ts'
import type authPlugin from '../../src/plugins/auth.ts'
import {
  at,
  claims,
  good,
  headers,
  keys,
  nowSeconds,
  PARTY,
  payloads,
  signer,
  stranger,
  tokenForms,
  withOptionalParties,
  withParties,
  withTemplates,
} from '../fixtures/credentials.ts'
import { createSigner } from '../helpers/signer.ts'

const ISSUER = 'https://clerk.example.com'
at.issuer = ISSUER

const MAX_TOKEN_LENGTH = 16_384
const RULES: TokenRules[] = [
  { issuer: ISSUER, authorizedParties: [], isAzpOptional: false, allowsJwtTemplates: false },
  { issuer: ISSUER, authorizedParties: [PARTY], isAzpOptional: true, allowsJwtTemplates: true },
]

/** The auth plugin without the native check: @fastify/jwt alone. */
async function startReference(t: Test, rules: TokenRules) {
  const { default: auth } = await t.mockImport<{ default: typeof authPlugin }>('../../src/plugins/auth.ts', {
    '../../src/clerk/native-tokens.ts': { createNativeTokens: () => () => undefined },
  })
  const app = Fastify()
  await app.register(auth, { ...rules, jwtKey: signer.pem })
  app.get('/', { onRequest: app.requireClerkAuth() }, async () => 'good')
  t.teardown(() => app.close())
  return async (token: string) =>
    (await app.inject({ url: '/', headers: { authorization: `Bearer ${token}` } })).statusCode
}

const jsonText = fc.json({ maxDepth: 2 })
const seldom = <T>(arbitrary: fc.Arbitrary<T>) =>
  fc.oneof({ weight: 4, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary })
const claim = fc.oneof(fc.integer(), fc.double(), fc.string(), fc.boolean(), fc.constant(null), fc.array(fc.string()))
const overClaims = fc.dictionary(
  fc.constantFrom('iss', 'sub', 'sid', 'exp', 'nbf', 'iat', 'azp', 'sts', 'aud', 'jti', 'v', 'o', '__proto__'),
  fc.oneof(
    claim,
    fc.integer({ min: nowSeconds - 20, max: nowSeconds + 20 }),
    fc.constantFrom(ISSUER, PARTY, 'user_2x'),
  ),
  { maxKeys: 3 },
)
const overHeader = fc.dictionary(
  fc.constantFrom('alg', 'typ', 'kid', 'cat', 'crit', 'b64', 'jku', 'x5u', 'oiat'),
  fc.oneof(claim, fc.constantFrom('RS256', 'RS512', 'HS256', 'none', 'JWT', 'cl_B7d4PD111AAA', 'cl_B7d4PD222AAA')),
  { maxKeys: 2 },
)

/** Good tokens, tokens with other claims and headers, well signed or not, and mutations of their text. */
const tokens = fc
  .record({
    claims: overClaims,
    header: overHeader,
    isStranger: seldom(fc.constant(true)),
    raw: seldom(jsonText),
    cut: seldom(fc.record({ at: fc.nat(), text: fc.constantFrom('', '.', '=', 'A', '\n', 'é') })),
  })
  .map(({ claims, header, isStranger, raw, cut }) => {
    const payload = {
      exp: nowSeconds + 60,
      iat: nowSeconds,
      iss: ISSUER,
      nbf: nowSeconds - 10,
      sub: 'user_2good',
      azp: PARTY,
    }
    const head = { alg: 'RS256', kid: signer.kid, typ: 'JWT', ...header }
    const token = (isStranger ? stranger : signer).sign(head, raw ?? { ...payload, ...claims })
    if (!cut) return token
    const place = cut.at % token.length
    return token.slice(0, place) + cut.text + token.slice(place + 1)
  })

for (const rules of RULES) {
  test(`no token that @fastify/jwt refuses (${rules.authorizedParties.length} parties)`, {
    timeout: 300_000,
  }, async (t) => {
    const realNow = Date.now
    Date.now = () => nowSeconds * 1000
    t.teardown(() => {
      Date.now = realNow
    })
    const reference = await startReference(t, rules)
    const accept = createNativeTokens({ rules, findPem: () => signer.pem })
    let accepted = 0
    const hold = async (token: string) => {
      // Longer ones are refused before either of them sees them.
      if (token.length > MAX_TOKEN_LENGTH || !accept(token, false, Date.now())) return
      accepted += 1
      // A pending session is 403: its token is good.
      if ((await reference(token)) === 401) throw new Error(`accepted, though refused: ${token.slice(0, 500)}`)
    }
    await hold(good())
    t.equal(accepted, 1, 'a good one is accepted')
    for (const rows of [headers, payloads, claims, keys, tokenForms, withParties, withOptionalParties, withTemplates]) {
      for (const [, make] of rows) {
        const made = make()
        if (typeof made === 'string') await hold(made)
      }
    }
    await fc.assert(fc.asyncProperty(tokens, hold), { numRuns: 1_500 })
    t.ok(accepted > 50, `${accepted} were accepted`)
  })
}

test('tokens that it does not accept are left to @fastify/jwt', async (t) => {
  const [rules] = RULES as [TokenRules]
  const nowMs = nowSeconds * 1000
  const without = createNativeTokens({ rules, findPem: () => undefined })
  t.equal(without(good(), false, nowMs), undefined, 'a key that is not at hand')
  const accept = createNativeTokens({ rules, findPem: () => signer.pem })
  t.ok(accept(good(), false, nowMs))
  t.equal(accept(good(), false, nowMs + 61_000), undefined, 'within the tolerance of exp')
  t.equal(accept(good(), false, nowMs - 11_000), undefined, 'before nbf')
  t.equal(accept('no token', false, nowMs), undefined)
})

test('the number of its keys is limited', async (t) => {
  const [rules] = RULES as [TokenRules]
  let pem = signer.pem
  const accept = createNativeTokens({ rules, findPem: () => pem })
  const nowMs = nowSeconds * 1000
  for (let n = 0; n < 17; n += 1) {
    pem = createSigner().pem
    t.equal(accept(good(), false, nowMs), undefined)
  }
  pem = signer.pem
  t.ok(accept(good(), false, nowMs))
})
