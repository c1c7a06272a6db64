import Fastify from 'fastify'
import { type Test, test } from 'tap'
import auth from '../../src/plugins/auth.ts'
import { startClerk } from '../emulator/start-clerk.ts'
import { keptLogger } from '../helpers/run-log.ts'
import { startService } from '../helpers/service.ts'
import { IDENTITY_HEADERS } from '../helpers/toy-application.ts'

const RIGHTS = {
  v: 2,
  fea: 'o:posts,u:export',
  pla: 'u:pro,o:team',
  o: { id: 'org_1', slg: 'acme', rol: 'admin', per: 'read,edit', fpm: '3' },
  fva: [5, -1],
  act: { iss: 'https://dashboard.clerk.com', sid: 'sess_2support', sub: 'user_2support' },
}
async function startSignedIn(t: Test, email = 'ada@example.com') {
  const service = await startService(t)
  const { clerk } = service
  const user = clerk.createUser({ email })
  const session = clerk.signIn(user.id)
  await clerk.webhooks.idle()
  const verify = async (query: string, claims: object = RIGHTS) => {
    const token = clerk.sessionToken(session.id, { claims })
    const { status, body, headers } = await service.call(`/api/auth/verify${query}`, { token })
    const identity = Object.fromEntries(IDENTITY_HEADERS.map((name) => [name, headers.get(`x-auth-request-${name}`)]))
    return { status, code: body.code, message: body.message, error: headers.get('x-auth-request-error'), identity }
  }
  return { ...service, user, session, verify }
}

const NOBODY = Object.fromEntries(IDENTITY_HEADERS.map((name) => [name, '']))

test('the identity headers contain everything that the token says', async (t) => {
  const { verify, user, session } = await startSignedIn(t)
  const expected = {
    user: user.id,
    email: 'ada@example.com',
    session: session.id,
    organization: 'org_1',
    'organization-slug': 'acme',
    role: 'org:admin',
    permissions: 'org:posts:edit,org:posts:read',
    plan: 'u:pro,o:team',
    features: 'o:posts,u:export',
    actor: 'user_2support',
  }
  t.strictSame(await verify(''), { status: 200, code: undefined, message: undefined, error: null, identity: expected })
  const plain = { ...NOBODY, user: user.id, email: 'ada@example.com', session: session.id }
  t.strictSame((await verify('', { o: undefined })).identity, plain, 'and every header is there where it says nothing')
})

test('an unverified email address is not forwarded', async (t) => {
  const { verify, user, database } = await startSignedIn(t, 'ceo@corp.example')
  for (const verified of [false, null]) {
    await database.query('update users set email_verified = $2 where id = $1', [user.id, verified])
    t.match((await verify('')).identity, { user: user.id, email: '' })
  }
})

test('claims cannot inject another header', async (t) => {
  const { verify } = await startSignedIn(t)
  const { identity } = await verify('', {
    ...RIGHTS,
    o: { id: 'org_1', slg: 'a\r\nx-evil: 1', rol: 'ł\ud800' },
    act: { sub: '50%' },
  })
  t.match(identity, { 'organization-slug': 'a%0D%0Ax-evil:%201', role: 'org:%C5%82%EF%BF%BD', actor: '50%25' })
})

test('conditions of the proxy are answered with the code that the SPA needs', async (t) => {
  const { verify } = await startSignedIn(t)
  const good =
    '?role=org:admin&permission=org:posts:read&permission=org:posts:edit&organization=acme&plan=pro&feature=user:export&maxFactorAge=10'
  t.match(await verify(good), { status: 200, error: null })
  t.match(await verify('?'), { status: 200 })
  const refused = { status: 403, code: 'FORBIDDEN', error: 'FORBIDDEN', identity: NOBODY }
  t.strictSame(await verify('?role=org:member'), { ...refused, message: 'The user lacks the role org:member' })
  t.match(await verify('?permission=org:posts:read&permission=org:posts:delete'), {
    ...refused,
    message: /the permission org:posts:delete/,
  })
  t.match(await verify('?organization=org_2'), refused)
  t.match(await verify('?plan=org:pro'), refused)
  t.match(await verify('?feature=import'), refused)
  t.match(await verify('?role=org:admin', {}), refused)
  t.match(await verify('?maxFactorAge=4'), {
    status: 403,
    code: 'REVERIFICATION_REQUIRED',
    error: 'REVERIFICATION_REQUIRED',
    identity: NOBODY,
  })
  t.match(await verify('?maxFactorAge=4&role=org:member'), refused, 'the lack of a right first')
})

test('an unknown condition is refused with and without a token', async (t) => {
  const { verify, call } = await startSignedIn(t)
  for (const query of [
    '?rol=org:admin',
    '?role=',
    '?maxFactorAge=soon',
    '?role=a&role=b',
    '?plan=x:y',
    '?user=user_1',
  ]) {
    t.match(
      await verify(query),
      { status: 400, code: 'UNKNOWN_CONDITION', error: 'UNKNOWN_CONDITION', identity: NOBODY },
      query,
    )
    t.match(await call(`/api/auth/verify${query}`), { status: 400, body: { code: 'UNKNOWN_CONDITION' } })
  }
  t.match(await verify('/?rol=x'), { status: 200 }, "below verify the query is the client's")
  t.match(await verify('/deep?role=org:member'), { status: 200 })
})

test('refusals of user and session come before missing rights', async (t) => {
  const { verify, clerk, user, session, database } = await startSignedIn(t)
  const query = '?role=org:member&maxFactorAge=1'
  t.match(await verify(query, { ...RIGHTS, sts: 'pending' }), { code: 'SESSION_PENDING' })
  clerk.revokeSession(session.id)
  await clerk.webhooks.idle()
  t.match(await verify(query), { status: 401, code: 'SESSION_REVOKED' })
  await database.query('update users set banned = true where id = $1', [user.id])
  t.match(await verify(query), { code: 'USER_BANNED' })
})

test('guards of an application accept the same conditions, and fail at startup on others', async (t) => {
  const clerk = await startClerk(t)
  const session = clerk.signIn(clerk.createUser().id)
  const app = Fastify(keptLogger())
  t.teardown(() => app.close())
  await app.register(auth, { issuer: clerk.issuer })
  app.get(
    '/admin',
    { onRequest: app.requireClerkAuth({ role: 'org:admin', permission: ['org:posts:edit'] }) },
    async () => ({}),
  )
  app.get('/fresh', { onRequest: app.requireClerkAuth({ maxFactorAge: 10 }) }, async () => ({}))
  const ask = async (url: string, claims: object) => {
    const headers = { authorization: `Bearer ${clerk.sessionToken(session.id, { claims })}` }
    const reply = await app.inject({ url, headers })
    return [reply.statusCode, reply.json().code]
  }
  t.strictSame(await ask('/admin', RIGHTS), [200, undefined])
  t.strictSame(await ask('/admin', {}), [403, 'FORBIDDEN'])
  t.strictSame(await ask('/admin', { sts: 'pending' }), [403, 'SESSION_PENDING'])
  t.strictSame(await ask('/fresh', RIGHTS), [200, undefined])
  t.strictSame(await ask('/fresh', { fva: [11, -1] }), [403, 'REVERIFICATION_REQUIRED'])
  const wrong: [object, RegExp][] = [
    [{ rol: 'org:admin' }, /requireClerkAuth: unknown condition: rol\. Known: role, permission, /],
    [{ role: '' }, /requireClerkAuth: role: expected a role such as org:admin/],
    // As that of a variable that is not set: it must not admit everybody.
    [{ role: undefined }, /requireClerkAuth: role: expected/],
    [{ permission: [] }, /requireClerkAuth: permission: expected a permission such as org:posts:edit, or an array/],
    [{ maxFactorAge: 0 }, /requireClerkAuth: maxFactorAge: expected a number of minutes/],
  ]
  for (const [conditions, message] of wrong) t.throws(() => app.requireClerkAuth(conditions), message)
  const undated = app.clerkCheckConditions({} as never, { role: undefined })
  await t.rejects(undated, { message: /clerkCheckConditions: role: expected/ })
})
