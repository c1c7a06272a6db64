import fc from 'fast-check'
import { test } from 'tap'
import {
  CLOCK_TOLERANCE_SECONDS,
  claimsFault,
  headerFault,
  readSessionToken,
  type TokenHeader,
  type TokenRules,
} from '../../src/domain/session-token.ts'

// Real tokens, over HTTP, are in test/plugins/auth-credentials.test.ts.

const ISSUER = 'https://clerk.example.com'
const PARTY = 'https://app.example.com'
const NOW = 1_700_000_000
const rules: TokenRules = { issuer: ISSUER, authorizedParties: [], isAzpOptional: false, allowsJwtTemplates: false }
const withParties: TokenRules = { ...rules, authorizedParties: ['https://www.example.com', PARTY] }

const header = { alg: 'RS256', typ: 'JWT', kid: 'ins_2abc', cat: 'cl_B7d4PD111AAA' }
const claims = { iss: ISSUER, sub: 'user_2abc', sid: 'sess_2abc', exp: NOW + 60, nbf: NOW - 10, iat: NOW, azp: PARTY }

const faultOf = (more: object, own = rules, isCookie = false) =>
  claimsFault({ ...claims, ...more }, own, { isCookie, nowSeconds: NOW })

test('a session token as Clerk makes it has no fault', async (t) => {
  t.equal(headerFault(header, rules), undefined)
  t.equal(headerFault({ alg: 'RS256' }, rules), undefined, 'nor has the barest')
  t.equal(faultOf({}), undefined)
  t.equal(faultOf({}, withParties), undefined)
  t.equal(claimsFault({ iss: ISSUER, sub: 'user_x', exp: 0 }, rules, { isCookie: false, nowSeconds: NOW }), undefined)
})

test('categories: sessions and "ignore" pass, templates if allowed, nothing else', async (t) => {
  const faultOfCat = (cat: string, allowsJwtTemplates: boolean) =>
    headerFault({ ...header, cat }, { ...rules, allowsJwtTemplates })
  for (const allowsTemplates of [false, true]) {
    t.equal(faultOfCat('cl_B7d4PD111AAA', allowsTemplates), undefined)
    t.equal(faultOfCat('cl_I7d4PD111III', allowsTemplates), undefined)
    t.equal(faultOfCat('cl_B7d4PD333AAA', allowsTemplates), 'it is not a session token')
  }
  t.equal(faultOfCat('cl_B7d4PD222AAA', true), undefined)
  t.equal(faultOfCat('cl_B7d4PD222AAA', false), 'it was made by a JWT template')
})

test('azp: one of the parties, missing only if that is allowed, and never in a cookie', async (t) => {
  const optional = { ...withParties, isAzpOptional: true }
  t.equal(faultOf({ azp: 'https://evil.example' }, withParties), 'it has a wrong azp')
  t.equal(faultOf({ azp: [PARTY] }, withParties), 'it has a wrong azp')
  t.equal(faultOf({ azp: undefined }, withParties), 'it has no azp')
  t.equal(faultOf({ azp: undefined }, optional), undefined)
  t.equal(faultOf({ azp: undefined }, optional, true), 'it has no azp')
  t.equal(faultOf({ azp: null }, optional), 'it has a wrong azp')
  t.equal(faultOf({}, optional, true), undefined)
})

test('iat may be ahead by the tolerance, and by no more', async (t) => {
  t.equal(faultOf({ iat: NOW + CLOCK_TOLERANCE_SECONDS }), undefined)
  t.equal(faultOf({ iat: NOW + CLOCK_TOLERANCE_SECONDS + 0.001 }), 'its iat is in the future')
})

test('a fault names what is wrong, or else the form', async (t) => {
  t.equal(faultOf({ sub: 'mch_2abc' }), 'it has a wrong sub')
  t.equal(faultOf({ exp: '1' }), 'it has a wrong exp')
  t.equal(faultOf({ iss: 'https://evil.example' }), 'it has a wrong iss')
  t.equal(headerFault({ ...header, alg: 'HS256' }, rules), 'its header has a wrong alg')
  t.equal(headerFault({ ...header, crit: [] }, rules), 'its header has critical extensions')
  t.equal(headerFault({ ...header, b64: true }, rules), 'its header has critical extensions')
  t.equal(headerFault([] as never, rules), 'its header has a wrong form')
  t.equal(claimsFault([] as never, rules, { isCookie: false, nowSeconds: NOW }), 'it has a wrong form')
})

test('a fault never quotes the token', async (t) => {
  const names = [...Object.keys(header), ...Object.keys(claims), 'crit', 'b64', 'oiat', '__proto__']
  const anything = fc.dictionary(fc.oneof(fc.constantFrom(...names), fc.string()), fc.jsonValue())
  const sentence =
    /^(it|its header) (is|was|has) [a-z JWT]+( alg| typ| kid| cat| oiat| iss| sub| sid| exp| nbf| iat| azp)?$|^its iat is in the future$/
  const isOurs = (fault: string | undefined) => fault === undefined || sentence.test(fault)
  fc.assert(fc.property(anything, (more) => isOurs(headerFault({ ...header, ...more }, rules))))
  fc.assert(fc.property(anything, (more) => isOurs(faultOf(more)) && isOurs(faultOf(more, withParties))))
  fc.assert(fc.property(anything, (more) => isOurs(headerFault(more, rules))))
  t.pass()
})

test('accepted ids are safe in a log, a path and PostgreSQL', async (t) => {
  const id = fc.oneof(fc.string(), fc.string({ unit: 'binary' }), fc.stringMatching(/^[\w.-]{1,300}$/))
  fc.assert(
    fc.property(id, (text) => {
      for (const [name, value] of [
        ['sub', `user_${text}`],
        ['sid', text],
      ] as const) {
        const isSafe = /^[A-Za-z0-9_.-]+$/.test(value) && value !== 'user_' && value.length <= 255
        if ((faultOf({ [name]: value }) === undefined) !== isSafe) return false
      }
      return (headerFault({ ...header, kid: text }, rules) === undefined) === /^[A-Za-z0-9_.-]{1,255}$/.test(text)
    }),
  )
  t.pass()
})

test('a token is read with its age from oiat, else iat, in whole seconds', async (t) => {
  const read = (more: object, oiat?: number) =>
    readSessionToken({ ...header, oiat } as TokenHeader, { ...claims, ...more })
  t.strictSame(read({ sts: 'active' }), {
    userId: 'user_2abc',
    sessionId: 'sess_2abc',
    issuedAtSeconds: NOW,
    isPending: false,
    authorization: { organization: null, plans: [], features: [], factorAges: null, actorId: null },
    claims: { ...claims, sts: 'active' },
  })
  t.match(read({ sts: 'pending', sid: undefined }), { isPending: true, sessionId: null })
  t.equal(read({}, NOW - 30.5).issuedAtSeconds, NOW - 31)
  t.equal(read({ iat: undefined }).issuedAtSeconds, 0)
})

test('a token that was read cannot be changed, however deep its claims', async (t) => {
  const nested = JSON.parse(`${'['.repeat(50_000)}${']'.repeat(50_000)}`)
  const token = readSessionToken(header as TokenHeader, { ...claims, metadata: { roles: ['cook'] }, nested })
  const { metadata } = token.claims as { metadata: { roles: string[] } }
  t.throws(() => Object.assign(token, { userId: 'user_other' }), TypeError)
  t.throws(() => Object.assign(token.claims, { sub: 'user_other' }), TypeError)
  t.throws(() => metadata.roles.push('captain'), TypeError)
})
