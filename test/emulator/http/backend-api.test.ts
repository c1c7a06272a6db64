import { isClerkAPIResponseError } from '@clerk/backend/errors'
import { test } from 'tap'
import { clientOf, errorLike, startClerk } from '../start-clerk.ts'

type Clerk = Awaited<ReturnType<typeof startClerk>>

async function request(clerk: Clerk, path: string, init: RequestInit = {}) {
  const headers = { authorization: `Bearer ${clerk.secretKey}`, ...init.headers }
  const response = await fetch(`${clerk.apiUrl}${path}`, { ...init, headers })
  return { status: response.status, headers: response.headers, body: (await response.json()) as object }
}

const json = (body: unknown) => ({
  method: 'POST',
  headers: { 'content-type': 'application/json' },
  body: typeof body === 'string' ? body : JSON.stringify(body),
})

test('@clerk/backend reads users', async (t) => {
  const clerk = await startClerk(t)
  const { users } = clientOf(clerk)
  const ada = clerk.createUser({ email: 'ada@example.com', firstName: 'Ada', publicMetadata: { role: 'admin' } })
  const bob = clerk.createUser({ phone: '+15550000001', createdAt: ada.created_at + 1 })

  const user = await users.getUser(ada.id)
  t.match(user, {
    id: ada.id,
    firstName: 'Ada',
    fullName: 'Ada',
    createdAt: ada.created_at,
    updatedAt: ada.updated_at,
    publicMetadata: { role: 'admin' },
    primaryEmailAddress: { emailAddress: 'ada@example.com', verification: { status: 'verified' } },
  })
  t.match((await users.getUser(bob.id)).primaryPhoneNumber, { phoneNumber: '+15550000001' })

  const list = await users.getUserList({ orderBy: 'created_at', limit: 1, offset: 1 })
  t.same(list, { data: [await users.getUser(bob.id)], totalCount: 2 })
  t.match(await users.getUserList({ emailAddress: ['ada@example.com'], userId: [ada.id, bob.id] }), {
    data: [{ id: ada.id }],
    totalCount: 1,
  })
  t.equal(await users.getCount({ query: 'ada' }), 1)
  t.equal(await users.getCount(), 2)
})

test('@clerk/backend walks through all users by cursor', async (t) => {
  const clerk = await startClerk(t)
  clerk.seedUsers(1_234)
  const { users } = clientOf(clerk)
  const ids: string[] = []
  for (let startingAfter: string | undefined; ; ) {
    const query = { orderBy: 'created_at', limit: 500, startingAfter } as const
    const { data } = await users.getUserList(query)
    ids.push(...data.map(({ id }) => id))
    if (data.length < 500) break
    startingAfter = data.at(-1)?.id
  }
  t.same(
    ids,
    [...clerk.users()].map(({ id }) => id),
  )
})

test('@clerk/backend creates, updates, bans and deletes users', async (t) => {
  const clerk = await startClerk(t)
  const { users } = clientOf(clerk)
  const created = await users.createUser({
    emailAddress: ['ada@example.com', 'second@example.com'],
    emailAddressIdentificationStatus: ['reserved', 'verified'],
    phoneNumber: ['+15550000001'],
    username: 'ada',
    firstName: 'Ada',
    lastName: 'Lovelace',
    externalId: 'ext_1',
    publicMetadata: { a: 1 },
    privateMetadata: { b: 2 },
    unsafeMetadata: { c: 3 },
    createdAt: new Date(1_700_000_000_000),
    password: 'correct horse battery staple',
    skipPasswordChecks: true,
    skipPasswordRequirement: true,
    skipLegalChecks: true,
  })
  t.match(created, {
    createdAt: 1_700_000_000_000,
    username: 'ada',
    externalId: 'ext_1',
    publicMetadata: { a: 1 },
    privateMetadata: { b: 2 },
    unsafeMetadata: { c: 3 },
    primaryEmailAddress: { emailAddress: 'ada@example.com', verification: { status: 'unverified', strategy: 'admin' } },
    primaryPhoneNumber: { phoneNumber: '+15550000001', verification: { strategy: 'admin' } },
  })
  t.equal(created.emailAddresses.length, 2)
  t.match(clerk.getUser(created.id), { first_name: 'Ada', last_name: 'Lovelace' })

  const updated = await users.updateUser(created.id, { firstName: 'Augusta', lastName: undefined })
  t.match(updated, { firstName: 'Augusta', lastName: 'Lovelace', publicMetadata: { a: 1 } })
  t.ok(updated.updatedAt > created.updatedAt)

  const session = clerk.signIn(created.id)
  t.equal((await users.banUser(created.id)).banned, true)
  t.equal(clerk.getSession(session.id).status, 'revoked')
  t.equal((await users.unbanUser(created.id)).banned, false)

  t.match(await users.deleteUser(created.id), { object: 'user', id: created.id, deleted: true })
  t.equal(await users.getCount(), 0)
  t.same(
    clerk.webhooks.deliveries.map(({ type }) => type),
    [
      'user.created',
      'user.updated',
      'user.updated',
      'session.created',
      'user.updated',
      'session.revoked',
      'user.updated',
      'user.deleted',
    ],
  )
})

test('@clerk/backend merges and replaces metadata', async (t) => {
  const clerk = await startClerk(t)
  const { users } = clientOf(clerk)
  const { id } = clerk.createUser({
    publicMetadata: { keep: 1, drop: 2, deep: { keep: 3, drop: 4 }, list: [5], scalar: 6 },
    privateMetadata: { a: 1 },
  })
  const patch = { drop: null, deep: { drop: null, add: { new: 7 } }, list: [8], scalar: { now: 'an object' } }
  const merged = await users.updateUserMetadata(id, { publicMetadata: patch })
  t.same(merged.publicMetadata, {
    keep: 1,
    deep: { keep: 3, add: { new: 7 } },
    list: [8],
    scalar: { now: 'an object' },
  })
  t.same([merged.privateMetadata, merged.unsafeMetadata], [{ a: 1 }, {}])

  const replaced = await users.replaceUserMetadata(id, { publicMetadata: { z: 26 }, unsafeMetadata: null as never })
  t.same(replaced.publicMetadata, { z: 26 })
  t.same(clerk.getUser(id).unsafe_metadata, null, 'null may be stored')
  const again = await users.updateUserMetadata(id, { unsafeMetadata: { b: 2 }, privateMetadata: { a: null } })
  t.same([again.unsafeMetadata, again.privateMetadata], [{ b: 2 }, {}])
  t.match(await request(clerk, `/v1/users/${id}/metadata`, { ...json({ first_name: 'A' }), method: 'PATCH' }), {
    status: 422,
    body: { errors: [{ code: 'form_param_unknown' }] },
  })
})

test('@clerk/backend handles sessions', async (t) => {
  const clerk = await startClerk(t)
  const { sessions } = clientOf(clerk)
  const user = clerk.createUser()
  const created = await sessions.createSession({ userId: user.id })
  const other = clerk.signIn(user.id, { status: 'pending' })
  clerk.signIn(clerk.createUser().id)
  t.match(await sessions.getSession(created.id), { userId: user.id, status: 'active' })
  t.match(await sessions.getSessionList({ userId: user.id }), {
    data: [{ id: other.id }, { id: created.id }],
    totalCount: 2,
  })
  t.match(await sessions.getSessionList({ userId: user.id, limit: 1, offset: 1 }), { data: [{ id: created.id }] })
  t.match(await sessions.getSessionList({ clientId: other.client_id }), { data: [{ id: other.id }], totalCount: 1 })
  t.match(await sessions.getSessionList({ status: 'active' }), { totalCount: 2 })
  t.match(await sessions.getSessionList({ userId: 'user_unknown' }), { data: [], totalCount: 0 })
  t.equal(((await request(clerk, '/v1/sessions')).body as object[]).length, 3, 'without `paginated` a bare list')

  const token = await sessions.getToken(created.id, '', 120)
  const [, payload = ''] = token.jwt.split('.')
  const claims = JSON.parse(Buffer.from(payload, 'base64url').toString())
  t.match(claims, { sid: created.id, exp: claims.iat + 120 })

  t.equal((await sessions.revokeSession(created.id)).status, 'revoked')
  await t.rejects(
    sessions.getToken(created.id, ''),
    errorLike({ status: 404, errors: [{ code: 'resource_not_found' }] }),
  )
  await t.rejects(sessions.revokeSession(created.id), errorLike({ status: 404 }))
  await t.rejects(
    sessions.getSession('sess_unknown'),
    errorLike({
      status: 404,
      errors: [{ message: 'Session not found', longMessage: 'No session was found with id sess_unknown' }],
    }),
  )
  t.match(await request(clerk, `/v1/sessions/${other.id}/tokens`, { method: 'POST' }), { body: { object: 'token' } })
  for (const expires_in_seconds of [29, 30.5, '60']) {
    t.match(await request(clerk, `/v1/sessions/${other.id}/tokens`, json({ expires_in_seconds })), {
      status: 422,
      body: { errors: [{ code: 'form_param_value_invalid' }] },
    })
  }
  t.match(await request(clerk, '/v1/sessions', json({})), {
    status: 422,
    body: { errors: [{ code: 'form_param_missing', meta: { param_name: 'user_id' } }] },
  })
  t.match(await request(clerk, '/v1/sessions', { method: 'POST' }), { status: 422 })
})

test("errors are Clerk's, as @clerk/backend reads them", async (t) => {
  const clerk = await startClerk(t)
  const { users } = clientOf(clerk)
  clerk.createUser({ email: 'taken@example.com' })

  const error = await users.getUser('user_unknown').catch((reason: unknown) => reason)
  t.ok(isClerkAPIResponseError(error))
  t.match(error, {
    status: 404,
    clerkTraceId: /^[0-9a-f]{32}$/,
    errors: [
      { code: 'resource_not_found', message: 'not found', longMessage: 'No user was found with id user_unknown' },
    ],
  })
  await t.rejects(
    clientOf({ ...clerk, secretKey: 'sk_test_wrong' }).users.getCount(),
    errorLike({
      status: 401,
      errors: [{ code: 'clerk_key_invalid' }],
    }),
  )
  await t.rejects(
    users.createUser({ emailAddress: ['Taken@example.com'] }),
    errorLike({
      status: 422,
      errors: [{ code: 'form_identifier_exists', meta: { paramName: 'email_address' } }],
    }),
  )
  clerk.faults.api = 'error'
  await t.rejects(users.getCount(), errorLike({ status: 500, errors: [{ code: 'internal_clerk_error' }] }))
})

test('a request without the secret key is refused before anything else is checked', async (t) => {
  const clerk = await startClerk(t)
  for (const authorization of ['', 'Bearer', `Basic ${clerk.secretKey}`]) {
    t.match(await request(clerk, '/v1/nothing', { headers: { authorization } }), {
      status: 401,
      body: { errors: [{ code: 'authorization_header_format_invalid' }] },
    })
  }
  t.equal((await fetch(`${clerk.apiUrl}/v1/users`)).status, 401)
  t.match(await request(clerk, '/v1/jwks', { headers: { authorization: 'Bearer sk_test_wrong' } }), { status: 401 })
  t.match(await request(clerk, '/v1/nothing'), { status: 404, body: { errors: [{ message: 'URL not found' }] } })
  t.match(await fetch(`${clerk.url}/nothing`), { status: 404 })
  t.equal(clerk.stats.apiRequests, 0)
})

test('parameters that Clerk does not know are refused', async (t) => {
  const clerk = await startClerk(t)
  const user = clerk.createUser()
  const refused: [unknown, number, string][] = [
    ['{', 400, 'malformed_request_parameters'],
    [[], 400, 'malformed_request_parameters'],
    ['"text"', 400, 'malformed_request_parameters'],
    [{ colour: 'red' }, 422, 'form_param_unknown'],
    [{ constructor: 'red' }, 422, 'form_param_unknown'],
    [{ email_address: 'a@example.com' }, 422, 'form_param_type_invalid'],
    [{ email_address: [1] }, 422, 'form_param_type_invalid'],
    [{ first_name: 1 }, 422, 'form_param_type_invalid'],
    [{ public_metadata: [] }, 422, 'form_param_type_invalid'],
    [{ public_metadata: 'a' }, 422, 'form_param_type_invalid'],
    [{ created_at: 'yesterday' }, 422, 'form_param_invalid_time'],
    [{ created_at: 1 }, 422, 'form_param_invalid_time'],
  ]
  for (const [body, status, code] of refused) {
    t.match(await request(clerk, '/v1/users', json(body)), { status, body: { errors: [{ code }] } }, String(body))
  }
  const patch = { ...json({ email_address: ['a@example.com'] }), method: 'PATCH' }
  t.match(await request(clerk, `/v1/users/${user.id}`, patch), { body: { errors: [{ code: 'form_param_unknown' }] } })
  t.match(await request(clerk, '/v1/users', { method: 'POST', body: 'a=1' }), { status: 415 })
  t.match(await request(clerk, '/v1/users', { method: 'POST' }), { status: 200 }, 'an empty body is none')
  t.match(await request(clerk, `/v1/users/${user.id}`, { ...json({ last_name: null }), method: 'PATCH' }), {
    status: 200,
  })
})

test('a failure of the emulator itself is a 500', async (t) => {
  const clerk = await startClerk(t, {
    sessionClaims: () => {
      throw new Error('A mistake in the test')
    },
  })
  const session = clerk.signIn(clerk.createUser().id)
  t.match(await request(clerk, `/v1/sessions/${session.id}/tokens`, { method: 'POST' }), {
    status: 500,
    body: { errors: [{ code: 'internal_clerk_error' }] },
  })
})

test('GET /v1/instance returns the instance', async (t) => {
  const clerk = await startClerk(t)
  t.match(await clientOf(clerk).instance.get(), { id: clerk.instanceId, environmentType: 'development' })
  const live = await startClerk(t, { secretKey: 'sk_live_test' })
  t.match(await clientOf(live).instance.get(), { id: live.instanceId, environmentType: 'production' })
  t.match(live.publishableKey, /^pk_live_/)
  t.match(await request(clerk, '/v1/jwks'), { body: { keys: [{ kty: 'RSA', alg: 'RS256', use: 'sig', e: 'AQAB' }] } })
})
