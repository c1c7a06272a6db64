import { test } from 'tap'
import type { UserLookupOptions } from '../../src/clerk/user-lookup.ts'
import { createDatabase } from '../helpers/database.ts'
import { asksEveryTime, type Service, startService } from '../helpers/service.ts'
import { createTcpProxy } from '../helpers/tcp-proxy.ts'

/** A user of Clerk that no webhook told of, and a token of hers. */
function signInUnseen({ clerk }: Service, attributes: Parameters<typeof clerk.createUser>[0] = {}) {
  clerk.webhooks.enabled = false
  const user = clerk.createUser({ email: `ada${Math.random()}@example.com`, firstName: 'Ada', ...attributes })
  const session = clerk.signIn(user.id)
  return { user, session, token: clerk.sessionToken(session.id) }
}

const sync = ({ call }: Service, token: string, body?: string) =>
  call('/api/auth/sync-user', {
    method: 'POST',
    token,
    body,
    ...(body && { headers: { 'content-type': 'application/json' } }),
  })

test('sync-user asks the Backend API and says so', async (t) => {
  const service = await startService(t, asksEveryTime)
  const { user, token } = signInUnseen(service, {
    email: 'ada@example.com',
    firstName: 'Ada',
    username: 'ada',
    publicMetadata: { plan: 'pro' },
  })
  t.match(await sync(service, token), {
    status: 201,
    body: {
      created: true,
      source: 'clerk_api',
      user: {
        id: user.id,
        email: 'ada@example.com',
        emailVerified: true,
        username: 'ada',
        publicMetadata: { plan: 'pro' },
      },
    },
  })
  const [before] = await service.database.query('select xmin, updated_at from users')
  t.match(await sync(service, token), { status: 200, body: { created: false, source: 'clerk_api' } })
  t.strictSame(
    await service.database.query('select xmin, updated_at from users'),
    [before],
    'what changes nothing writes nothing',
  )
})

test('Clerk is asked for a user at most once in 10 s; in between the row is used', async (t) => {
  const service = await startService(t)
  const { user, token, session } = signInUnseen(service)
  t.match(await sync(service, token), { status: 201, body: { source: 'clerk_api' } })
  service.clerk.updateUser(user.id, { firstName: 'Augusta' })
  const newer = service.clerk.sessionToken(session.id, {
    claims: { iat: Math.floor(Date.now() / 1000) + 2, given_name: 'Claimed' },
  })
  for (const sent of [token, newer]) {
    t.match(await sync(service, sent), {
      status: 200,
      body: { created: false, source: 'database', user: { firstName: 'Ada' } },
    })
  }
  t.equal(service.clerk.stats.apiRequestsByPath['GET /v1/users/:id'], 1)

  await service.database.query('delete from users')
  t.match(
    await sync(service, token),
    { status: 201, body: { created: true, source: 'clerk_api', user: { firstName: 'Ada' } } },
    'a row that is gone is made again from what Clerk has just said',
  )
  t.equal(service.clerk.stats.apiRequestsByPath['GET /v1/users/:id'], 1)
})

test('calls of one user do not use up the budget of others', async (t) => {
  const service = await startService(t, { clerk: { rateLimit: 'clerk' } })
  const busy = signInUnseen(service)
  const loop = async () => {
    for (let n = 0; n < 30; n += 1) t.ok((await sync(service, busy.token)).status < 300)
  }
  await Promise.all([loop(), loop(), loop(), loop()])
  const asked = () => service.clerk.stats.apiRequestsByPath['GET /v1/users/:id']
  t.equal(asked(), 1)

  const newcomer = signInUnseen(service, { email: 'new@example.com' })
  t.match(await sync(service, newcomer.token), { status: 201, body: { user: { email: 'new@example.com' } } })
  const gone = signInUnseen(service)
  service.clerk.deleteUser(gone.user.id)
  for (const path of ['/api/auth/sync-user', '/api/auth/profile', '/api/auth/sync-user']) {
    const reply = await service.call(path, { token: gone.token, method: path.endsWith('user') ? 'POST' : 'GET' })
    t.match(reply, { status: 403, body: { code: 'USER_DELETED' } })
  }
  t.equal(asked(), 3)
  t.strictSame(await service.database.query('select 1 from users where id = $1', [gone.user.id]), [])
})

test('beyond CLERK_API_BUDGET the claims or the row are used at once, and an absent user stays refused', async (t) => {
  const service = await startService(t, { ...asksEveryTime, settings: { CLERK_API_BUDGET: '2' } })
  const gone = signInUnseen(service)
  service.clerk.deleteUser(gone.user.id)
  t.match(await sync(service, gone.token), { status: 403, body: { code: 'USER_DELETED' } })
  const first = signInUnseen(service)
  t.match(await sync(service, first.token), { status: 201, body: { source: 'clerk_api' } })

  t.match(await sync(service, first.token), { status: 200, body: { source: 'database' } })
  const { session } = signInUnseen(service)
  const claims = { email: 'claimed@example.com' }
  t.match(await sync(service, service.clerk.sessionToken(session.id, { claims })), {
    status: 201,
    body: { source: 'session_claims', user: { email: 'claimed@example.com' } },
  })
  t.match(await sync(service, gone.token), { status: 403, body: { code: 'USER_DELETED' } })
  t.equal((await service.call('/api/auth/profile', { token: gone.token })).status, 403)
  t.equal(service.clerk.stats.apiRequestsByPath['GET /v1/users/:id'], 2)
})

test('any request body is ignored: a profile comes from Clerk', async (t) => {
  const service = await startService(t)
  const { token } = signInUnseen(service, { email: 'ada@example.com' })
  for (const [type, body] of [
    ['application/json', '{"email":"mallory@example.com"}'],
    ['application/json', '{'],
    ['text/plain', 'hello'],
    ['application/octet-stream', '\0\0'],
  ] as const) {
    const reply = await service.call('/api/auth/sync-user', {
      method: 'POST',
      token,
      body,
      headers: { 'content-type': type },
    })
    t.match(reply, { body: { user: { email: 'ada@example.com' } } }, type)
    t.ok(reply.status < 300)
  }
})

test('without a Backend API the claims are used, then the row', async (t) => {
  const service = await startService(t, { hasSecretKey: false })
  const { user, session, token } = signInUnseen(service)
  t.match(await sync(service, token), {
    status: 201,
    body: { source: 'session_claims', user: { id: user.id, email: null } },
  })
  t.match(
    await sync(service, token),
    { status: 200, body: { source: 'database', created: false } },
    'a token that names nothing',
  )

  const iat = Math.floor(Date.now() / 1000)
  const named = (claims: object, issuedAt = iat) =>
    service.clerk.sessionToken(session.id, { claims: { iat: issuedAt, ...claims } })
  t.match(await sync(service, named({ email: 'ada@example.com', given_name: 'Ada' }, iat + 1)), {
    status: 200,
    body: { source: 'session_claims', user: { email: 'ada@example.com', firstName: 'Ada' } },
  })
  t.match(
    await sync(service, named({ email: 'old@example.com' })),
    {
      body: { source: 'database', user: { email: 'ada@example.com' } },
    },
    'claims that are not newer change nothing',
  )
})

test('if the Backend API cannot be reached, the sync uses the claims or the row', async (t) => {
  const service = await startService(t, {
    change: (options) => ({
      ...options,
      userSync: {
        ...options.userSync,
        backendApi: { ...(options.userSync?.backendApi as UserLookupOptions), deadlineMs: 200 },
      },
    }),
  })
  for (const fault of ['error', 'hang', 'html', 'reset', { status: 401 }] as const) {
    service.clerk.faults.api = fault
    const { token } = signInUnseen(service)
    t.match(await sync(service, token), { status: 201, body: { source: 'session_claims' } }, JSON.stringify(fault))
    t.match(await sync(service, token), { status: 200, body: { source: 'database' } }, JSON.stringify(fault))
  }
  service.clerk.faults.api = undefined
  const { token } = signInUnseen(service)
  t.match(await sync(service, token), { status: 201, body: { source: 'clerk_api' } }, 'and with it again')
})

test('just-in-time sync creates a missing row on any authenticated call', async (t) => {
  const service = await startService(t)
  for (const path of ['/api/auth/profile', '/api/auth/verify']) {
    const { user, token } = signInUnseen(service)
    t.equal((await service.call(path, { token })).status, 200)
    t.match(await service.database.query('select * from users where id = $1', [user.id]), [
      { sync_source: 'clerk_api' },
    ])
  }
})

test('with AUTO_SYNC=false an unknown user is told to sync', async (t) => {
  const service = await startService(t, { settings: { AUTO_SYNC: 'false' } })
  const { token, session } = signInUnseen(service)
  const refused = await service.call('/api/auth/profile', { token })
  t.match(refused, { status: 401, body: { code: 'USER_NOT_SYNCED' } })
  t.match(refused.headers.get('www-authenticate'), /^Bearer error="invalid_token"/)
  t.strictSame(await service.database.query('select * from users'), [])
  t.equal((await sync(service, token)).status, 201)
  t.equal((await service.call('/api/auth/profile', { token })).status, 200)
  service.clerk.webhooks.enabled = true
  service.clerk.revokeSession(session.id)
  await service.clerk.webhooks.idle()
  t.match(await service.call('/api/auth/profile', { token }), { status: 401, body: { code: 'SESSION_REVOKED' } })
})

test('a user unknown here and at Clerk is deleted, and nothing is written', async (t) => {
  const service = await startService(t)
  const { user, token } = signInUnseen(service)
  service.clerk.deleteUser(user.id)
  t.match(await sync(service, token), { status: 403, body: { code: 'USER_DELETED' } })
  t.match(await service.call('/api/auth/profile', { token }), { status: 403, body: { code: 'USER_DELETED' } })
  t.strictSame(await service.database.query('select * from users'), [])
})

test('a user known here keeps the row while Clerk answers 404: only user.deleted deletes', async (t) => {
  const service = await startService(t)
  const { user, token } = signInUnseen(service)
  await sync(service, token)
  service.clerk.deleteUser(user.id)
  t.match(await sync(service, token), { status: 200, body: { source: 'database' } })
})

test('refusals come in the order of the contract', async (t) => {
  const service = await startService(t)
  const { clerk } = service
  const pending = { claims: { sts: 'pending' } }
  const { user, session } = signInUnseen(service)
  clerk.webhooks.enabled = true
  const both = async (code: string, status: number, overrides = {}) => {
    const token = clerk.sessionToken(session.id, overrides)
    t.match(await service.call('/api/auth/profile', { token }), { status, body: { code } }, `profile: ${code}`)
    t.match(await sync(service, token), { status, body: { code } }, `sync-user: ${code}`)
  }
  await both('SESSION_PENDING', 403, pending)
  clerk.revokeSession(session.id)
  await clerk.webhooks.idle()
  await both('SESSION_REVOKED', 401)
  await both('SESSION_PENDING', 403, pending)
  clerk.banUser(user.id)
  await clerk.webhooks.idle()
  await both('USER_BANNED', 403, pending)
  clerk.deleteUser(user.id)
  await clerk.webhooks.idle()
  await both('USER_DELETED', 403, pending)
})

test('an ended session creates no row from its claims', async (t) => {
  const service = await startService(t, { hasSecretKey: false })
  const { token, session, user } = signInUnseen(service)
  await service.database.query(
    `insert into sessions (id, user_id, status, clerk_updated_at) values ($1, $2, 'replaced', now())`,
    [session.id, user.id],
  )
  for (const path of ['/api/auth/profile', '/api/auth/verify']) {
    t.match(await service.call(path, { token }), { status: 401, body: { code: 'SESSION_REVOKED' } })
  }
  t.match(await sync(service, token), { status: 401, body: { code: 'SESSION_REVOKED' } })
  t.strictSame(await service.database.query('select * from users'), [])
})

test('sync-user lifts a ban that Clerk has lifted, when the webhook was lost', async (t) => {
  const service = await startService(t, asksEveryTime)
  const { token, user } = signInUnseen(service)
  service.clerk.banUser(user.id)
  t.match(await service.call('/api/auth/profile', { token }), { status: 403, body: { code: 'USER_BANNED' } })
  t.match(await sync(service, token), { status: 403, body: { code: 'USER_BANNED' } })
  service.clerk.unbanUser(user.id)
  t.match(await service.call('/api/auth/profile', { token }), { status: 403 }, 'the row still says so')
  t.match(await sync(service, token), { status: 200, body: { source: 'clerk_api' } })
  t.equal((await service.call('/api/auth/profile', { token })).status, 200)
})

test('a database failure is a 503, never a 401', async (t) => {
  const database = await createDatabase(t)
  const proxy = await createTcpProxy(t, database.url)
  const service = await startService(t, { settings: { DATABASE_URL: proxy.url } })
  const { token } = signInUnseen(service)
  t.equal((await sync(service, token)).status, 201)
  const all = [
    ['GET', '/api/auth/profile'],
    ['POST', '/api/auth/sync-user'],
    ['GET', '/api/auth/verify'],
  ] as const
  const refused = async (name: string) => {
    for (const reply of await Promise.all(all.map(([method, path]) => service.call(path, { method, token })))) {
      t.match(reply, { status: 503, body: { code: 'DATABASE_UNAVAILABLE', message: /at the moment/ } }, name)
      t.ok(Number(reply.headers.get('retry-after')) >= 1)
    }
  }
  await proxy.cut()
  await refused('unreachable')
  await proxy.restore()
  while ((await sync(service, token)).status !== 200);
  const startedAt = performance.now()
  proxy.freeze()
  await refused('frozen')
  t.ok(performance.now() - startedAt < 7_000, 'within the time limits')
  await proxy.restore()
  while ((await sync(service, token)).status !== 200);
})

test('a row that PostgreSQL refuses is a 500 that does not quote it', async (t) => {
  const service = await startService(t)
  await service.database.query('create unique index on users (first_name)')
  t.equal((await sync(service, signInUnseen(service, { firstName: 'Ada' }).token)).status, 201)
  const refused = await sync(service, signInUnseen(service, { firstName: 'Ada' }).token)
  t.match(refused, { status: 500, body: { code: 'INTERNAL_SERVER_ERROR' } })
  t.notMatch(JSON.stringify(refused.body), /Ada/)
})
