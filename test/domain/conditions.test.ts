import { isDeepStrictEqual } from 'node:util'
import { signedInAuthObject } from '@clerk/backend/internal'
import { __experimental_JWTPayloadToAuthObjectProperties as parsePayload } from '@clerk/shared/jwtPayloadParser'
import fc from 'fast-check'
import { test } from 'tap'
import { readAuthorization } from '../../src/domain/authorization.ts'
import { type Conditions, findBadCondition, findUnmet, parseConditions } from '../../src/domain/conditions.ts'

/** What Clerk's own SDK makes of these claims. */
function asClerkDoes(claims: object) {
  const auth = signedInAuthObject({} as never, 'x', { sub: 'user_1', sid: 'sess_1', ...claims } as never)
  return { ...auth, has: auth.has as (params: object) => boolean }
}

const VERSION_2 = {
  v: 2,
  fea: 'o:posts,u:export,ou:search,o:big',
  pla: 'u:pro,o:team',
  o: { id: 'org_1', slg: 'acme', rol: 'admin', per: 'read,edit,manage', fpm: '3,4,7' },
  fva: [5, -1],
  act: { sub: 'user_2support' },
}
const VERSION_1 = {
  org_id: 'org_1',
  org_slug: 'acme',
  org_role: 'org:admin',
  org_permissions: ['org:posts:read', 'org:big:edit'],
  fva: [20, 5],
}

test('the rights in claims of both versions are read as Clerk reads them', async (t) => {
  t.strictSame(readAuthorization(VERSION_2), {
    organization: {
      id: 'org_1',
      slug: 'acme',
      role: 'org:admin',
      permissions: [
        'org:big:edit',
        'org:big:manage',
        'org:big:read',
        'org:posts:edit',
        'org:posts:read',
        'org:search:manage',
      ],
    },
    plans: ['u:pro', 'o:team'],
    features: ['o:posts', 'u:export', 'ou:search', 'o:big'],
    factorAges: { first: 5, second: -1 },
    actorId: 'user_2support',
  })
  t.match(readAuthorization(VERSION_1), {
    organization: { id: 'org_1', slug: 'acme', role: 'org:admin', permissions: ['org:big:edit', 'org:posts:read'] },
    factorAges: { first: 20, second: 5 },
    actorId: null,
  })
  for (const claims of [VERSION_1, VERSION_2]) {
    const theirs = asClerkDoes(claims)
    const { organization } = readAuthorization(claims)
    t.strictSame(organization?.permissions, theirs.orgPermissions?.toSorted())
    t.strictSame(
      [organization?.id, organization?.slug, organization?.role],
      [theirs.orgId, theirs.orgSlug, theirs.orgRole],
    )
  }
})

test('claims of any other form give no rights', async (t) => {
  const nothing = { organization: null, plans: [], features: [], factorAges: null, actorId: null }
  const odd = [
    {},
    { v: 2, o: null, fea: 1, pla: '', fva: [1], act: 'user_1' },
    { v: 2, o: ['org_1'], fva: ['1', 2], act: null },
    { v: 2, o: { id: '' }, fva: [-2, 0], pla: 'pro' },
    { v: 2, ...VERSION_1, fva: null },
    { ...VERSION_2, v: 1, fea: 'posts,o:x', pla: 'o:team,pro', fva: [Number.NaN, 1], act: {} },
  ]
  for (const claims of odd) t.strictSame(readAuthorization(claims), nothing, JSON.stringify(claims))
  const organization = (o: object, fea = 'o:posts') =>
    readAuthorization({ v: 2, fea, o: { id: 'org_1', ...o } }).organization?.permissions
  t.strictSame(organization({}), [])
  t.strictSame(organization({ per: 'read' }), [])
  t.strictSame(organization({ per: 'read', fpm: '1x' }), [])
  t.strictSame(organization({ per: 'read', fpm: '9'.repeat(401) }), [], 'no number without bound')
  t.strictSame(organization({ per: 'read', fpm: '1' }, 'o:posts,o:more'), ['org:posts:read'])
  t.strictSame(
    readAuthorization({ org_id: 'org_1', org_role: 7, org_permissions: [1, 'org:a:b', 'org:a:b'] }).organization,
    {
      id: 'org_1',
      slug: null,
      role: null,
      permissions: ['org:a:b'],
    },
  )
})

const NAMES = ['posts', 'export', 'pro', 'team', 'big']
const scoped = fc
  .array(fc.tuple(fc.constantFrom('o', 'u', 'ou', 'x'), fc.constantFrom(...NAMES)), { maxLength: 4 })
  .map((all) => all.map((pair) => pair.join(':')).join())
const names = fc.constantFrom('read', 'edit', 'admin', 'member')
const claimsOfVersion2 = fc.record({
  v: fc.constant(2),
  fea: scoped,
  pla: scoped,
  fva: fc.tuple(fc.integer({ min: -1, max: 30 }), fc.integer({ min: -1, max: 30 })),
  o: fc.option(
    fc.record({
      id: fc.constant('org_1'),
      slg: fc.constant('acme'),
      rol: names,
      per: fc.array(names, { minLength: 1, maxLength: 4 }).map(String),
      fpm: fc.array(fc.bigInt({ min: 0n, max: 2n ** 70n }), { maxLength: 4 }).map(String),
    }),
    { nil: undefined },
  ),
})
const claimsOfVersion1 = fc.record({
  org_id: fc.constant('org_1'),
  org_role: names.map((name) => `org:${name}`),
  org_permissions: fc.array(names.map((name) => `org:posts:${name}`)),
  fea: scoped,
  pla: scoped,
})
const entitlement = fc
  .tuple(fc.constantFrom('', 'o:', 'org:', 'organization:', 'u:', 'user:'), fc.constantFrom(...NAMES))
  .map((pair) => pair.join(''))

test("conditions mean what they mean to Clerk's has()", async (t) => {
  const wanted = fc.record(
    {
      role: fc.tuple(fc.constantFrom('', 'org:'), names).map((pair) => pair.join('')),
      permission: fc.tuple(fc.constantFrom(...NAMES), names).map(([feature, name]) => `org:${feature}:${name}`),
      plan: entitlement,
      feature: entitlement,
    },
    { requiredKeys: [] },
  )
  fc.assert(
    fc.property(fc.oneof(claimsOfVersion2, claimsOfVersion1), wanted, (claims, conditions) => {
      const isMet = findUnmet(conditions, readAuthorization(claims)) === undefined
      // Clerk answers false when it is asked for nothing.
      return Object.keys(conditions).length === 0 ? isMet : isMet === asClerkDoes(claims).has(conditions)
    }),
    { numRuns: 2_000 },
  )
  t.pass('in every case')
})

test("the active organization is the one of Clerk's jwtPayloadParser, whatever part of the claims is missing or odd", async (t) => {
  const spaced = (each: fc.Arbitrary<string>, maxLength: number) =>
    fc.tuple(fc.array(each, { maxLength }), fc.constantFrom(',', ', ', ' , ')).map(([all, comma]) => all.join(comma))
  const masks = fc.oneof(
    fc.bigInt({ min: 0n, max: 2n ** 70n }).map(String),
    fc.constantFrom('', '0', '007', '1x', '-1'),
  )
  const organization = fc.record(
    {
      id: fc.constant('org_1'),
      slg: fc.constantFrom('acme', 'a-b'),
      rol: names,
      per: spaced(names, 5),
      fpm: spaced(masks, 5),
    },
    { requiredKeys: ['id'] },
  )
  const scopes = fc.constantFrom('o', 'u', 'ou', 'uo')
  const features = spaced(
    fc.tuple(scopes, fc.constantFrom(...NAMES)).map((pair) => pair.join(':')),
    5,
  )
  const claims = fc.oneof(
    fc.record({ v: fc.constant(2), fea: features, o: organization }, { requiredKeys: ['v'] }),
    fc.record(
      {
        v: fc.constantFrom(1, undefined),
        org_id: fc.constant('org_1'),
        org_slug: fc.constant('acme'),
        org_role: names.map((name) => `org:${name}`),
        org_permissions: fc.array(names.map((name) => `org:posts:${name}`)),
      },
      { requiredKeys: [] },
    ),
  )
  let decoded = 0
  fc.assert(
    fc.property(claims, (payload) => {
      const theirs = parsePayload(payload as never)
      const { organization } = readAuthorization(payload)
      const wanted = theirs.orgId
        ? {
            id: theirs.orgId,
            slug: theirs.orgSlug ?? null,
            role: theirs.orgRole ?? null,
            permissions: [...new Set(theirs.orgPermissions ?? [])].sort(),
          }
        : null
      decoded += wanted?.permissions.length ?? 0
      return isDeepStrictEqual(organization, wanted)
    }),
    { numRuns: 3_000 },
  )
  t.ok(decoded > 1_000, `${decoded} permissions were compared`)
})

test("ages of factors mean what they mean to Clerk's has(), but for the last minute, which counts", async (t) => {
  const age = fc.integer({ min: 1, max: 30 })
  fc.assert(
    fc.property(claimsOfVersion2, age, (claims, minutes) => {
      // Clerk's `afterMinutes` is the first age that is too old; ours the last that is not.
      const has = (level: string) => asClerkDoes(claims).has({ reverification: { level, afterMinutes: minutes + 1 } })
      const isMet = (conditions: Conditions) => findUnmet(conditions, readAuthorization(claims)) === undefined
      return (
        isMet({ maxFactorAge: minutes }) === has('first_factor') &&
        isMet({ maxSecondFactorAge: minutes }) === has('second_factor')
      )
    }),
    { numRuns: 1_000 },
  )
  const aged = (fva: unknown) => findUnmet({ maxFactorAge: 10 }, readAuthorization({ fva }))
  t.equal(aged([10, -1]), undefined)
  for (const fva of [[11, -1], [-1, 0], undefined, 'x'])
    t.match(aged(fva), { kind: 'reverification', what: /10 minutes/ })
})

test('the first condition that is not met is named, missing rights before old factors', async (t) => {
  const unmet = (conditions: Conditions, claims: object = VERSION_2) =>
    findUnmet(conditions, readAuthorization({ ...claims }))
  t.equal(
    unmet({ role: 'admin', permission: ['org:posts:edit', 'posts:read'], organization: 'acme', plan: 'pro' }),
    undefined,
  )
  t.equal(unmet({ organization: 'org_1', feature: 'user:export', maxFactorAge: 5, maxSecondFactorAge: 5 }), undefined)
  t.match(unmet({ organization: 'org_2' }), { kind: 'forbidden', what: 'the active organization org_2' })
  t.match(unmet({ role: 'member', maxFactorAge: 1 }), { kind: 'forbidden', what: 'the role org:member' })
  t.match(unmet({ permission: ['org:posts:read', 'org:posts:manage'] }), { what: 'the permission org:posts:manage' })
  t.match(unmet({ plan: 'org:pro' }), { what: 'the plan org:pro' })
  t.match(unmet({ feature: 'nothing' }), { what: 'the feature nothing' })
  t.match(unmet({ maxFactorAge: 4 }), { kind: 'reverification', what: 'a factor of the last 4 minutes' })
  t.match(unmet({ maxSecondFactorAge: 3 }, VERSION_1), { what: 'a second factor of the last 3 minutes' })
  t.match(unmet({ organization: 'acme' }, {}), { kind: 'forbidden' })
})

test('a query may contain only known conditions', async (t) => {
  t.match(parseConditions(''), {})
  t.match(parseConditions('role=org%3Aadmin&permission=org:a:b&permission=c:d&maxFactorAge=10&plan=u:pro'), {
    role: 'org:admin',
    permission: ['org:a:b', 'c:d'],
    maxFactorAge: 10,
    plan: 'u:pro',
  })
  const bad: [query: string, name: string][] = [
    ['rol=org:admin', 'rol'],
    ['Role=org:admin', 'Role'],
    ['__proto__=x', '__proto__'],
    ['constructor=x', 'constructor'],
    ['role', 'role'],
    ['role=', 'role'],
    ['role=org:', 'role'],
    ['role=a%20b', 'role'],
    ['role=a&role=a', 'role'],
    ['permission=org:a:b&permission=', 'permission'],
    ['organization=a/b', 'organization'],
    ['plan=x:pro', 'plan'],
    ['feature=o:a:b', 'feature'],
    ['feature=a,b', 'feature'],
    ...['0', '-1', '1.5', 'ten', '', '1e3', '0x10', '9999999'].map((age): [string, string] => [
      `maxFactorAge=${age}`,
      'maxFactorAge',
    ]),
    ['maxSecondFactorAge=x', 'maxSecondFactorAge'],
    ['role=admin&x=1', 'x'],
  ]
  for (const [query, name] of bad) t.strictSame(parseConditions(query), { bad: name }, query)
  t.equal(findBadCondition({ permission: [] }), 'permission')
  t.equal(findBadCondition({ maxFactorAge: '10' }), 'maxFactorAge')
  t.equal(findBadCondition({ role: undefined, plan: 'pro' }), 'role', 'it would admit everybody')
  t.equal(findBadCondition({ role: 'admin', plan: 'pro' }), undefined)
})
