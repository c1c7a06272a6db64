import Fastify from 'fastify'
import { type Test, test } from 'tap'
import { Agent, request } from 'undici'
import { setChangeFeed } from '../../../src/db/changes/enable.ts'
import { statementTracing } from '../../../src/db/channels.ts'
import { createClerkEmulator } from '../../../src/emulator/index.ts'
import clerkChanges from '../../../src/plugins/changes/index.ts'
import clerkDatabase from '../../../src/plugins/database.ts'
import { resources } from '../../../src/resources/index.ts'
import { createDatabase } from '../../helpers/database.ts'
import { type Service, type ServiceOptions, startService } from '../../helpers/service.ts'
import { createTcpProxy } from '../../helpers/tcp-proxy.ts'
import { waitUntil } from '../../helpers/wait-until.ts'

const TRIGGERS_OF_ALL = 4 * resources.length

const READERS = 1_000
const TOKEN = 'token-of-the-change-feed'

async function startFeed(t: Test, options: ServiceOptions = {}) {
  const service = await startService(t, {
    ...options,
    settings: { CHANGES: 'true', CHANGES_TOKEN: TOKEN, ...options.settings },
  })
  const read = (query = '') => service.call(`/api/changes${query}`, { token: TOKEN })
  /** Waits until everything that was committed may be read: other tests write to the same server. */
  const settled = () =>
    waitUntil('nothing held', async () => {
      const [row] = await service.database.query(
        'select exists (select from changes where xid >= pg_snapshot_xmin(pg_current_snapshot())) as held',
      )
      return !row?.held
    })
  return { ...service, read, settled }
}

/** Signs a user up, whose webhooks are awaited. */
async function signUp({ clerk }: Pick<Service, 'clerk'>, firstName = 'Ada') {
  const user = clerk.createUser({ firstName })
  await clerk.webhooks.idle()
  return user.id
}

test('changes are read page by page, each once', async (t) => {
  const service = await startFeed(t)
  const { read, clerk, settled } = service
  const empty = await read()
  t.match(empty, { status: 200, body: { changes: [], hasMore: false } })
  t.type(empty.body.cursor, 'string')
  t.equal(empty.headers.get('cache-control'), 'no-store')
  const [one, two] = [await signUp(service), await signUp(service)]
  clerk.updateUser(one, { firstName: 'Grace' })
  await clerk.webhooks.idle()
  await settled()
  const first = await read(`?after=${empty.body.cursor}&limit=2`)
  t.match(first.body, { hasMore: true })
  t.strictSame(
    first.body.changes.map((change: Record<string, unknown>) => [
      change.entity,
      change.entityId,
      change.op,
      change.changed,
      change.cause,
    ]),
    [
      ['user', one, 'created', [], 'webhook'],
      ['user', two, 'created', [], 'webhook'],
    ],
  )
  t.strictSame(Object.keys(first.body.changes[0]), ['id', 'entity', 'entityId', 'op', 'changed', 'cause', 'occurredAt'])
  const second = await read(`?after=${first.body.cursor}`)
  t.match(second.body, { hasMore: false, changes: [{ entityId: one, op: 'updated', changed: ['first_name'] }] })
  t.equal(second.body.changes.length, 1)
  t.match(await read(`?after=${second.body.cursor}`), { body: { changes: [], cursor: second.body.cursor } })
  t.equal((await read()).body.changes.length, 3, 'without a cursor from the oldest kept')
})

test('a long poll is answered as soon as there is a change by any writer, otherwise after its time', async (t) => {
  const service = await startFeed(t)
  const { read, database } = service
  const { body } = await read('?after=latest')
  const waiting = read(`?after=${body.cursor}&wait=30`)
  const id = await signUp(service)
  const { body: found } = await waiting
  t.match(found, { changes: [{ entityId: id, op: 'created' }] })
  const again = read(`?after=${found.cursor}&wait=30`)
  await database.query(`update users set username = 'x' where id = $1`, [id])
  const { body: foreign } = await again
  t.match(foreign, { changes: [{ entityId: id, op: 'updated', changed: ['username'], cause: null }] })
  t.match(await read(`?after=${foreign.cursor}&wait=1`), { status: 200, body: { changes: [], cursor: foreign.cursor } })
  t.match(await read('?after=latest&wait=1'), { status: 200, body: { changes: [] } })
})

test('a wake-up costs one query, however many readers wait', async (t) => {
  const service = await startFeed(t)
  const { read, settled } = service
  let queries = 0
  const count = ({ name }: { name: string }) => {
    if (name === 'changes_read') queries += 1
  }
  statementTracing.start.subscribe(count as never)
  t.teardown(() => statementTracing.start.unsubscribe(count as never))
  // `fetch` opens new connections while old ones are idle, and reaches the limit of the service with them.
  const dispatcher = new Agent({ connections: READERS })
  t.teardown(() => dispatcher.destroy())
  const wait = async (cursor: string) => {
    const headers = { authorization: `Bearer ${TOKEN}` }
    const { body } = await request(`${service.url}/api/changes?after=${cursor}&wait=30`, { dispatcher, headers })
    return (await body.json()) as { changes: { entityId: string }[]; cursor: string }
  }
  const first = await signUp(service)
  await settled()
  let { cursor } = (await read()).body
  t.match((await read()).body, { changes: [{ entityId: first }] })
  for (let round = 0; round < 3; round += 1) {
    queries = 0
    const waiting = Array.from({ length: READERS }, () => wait(cursor))
    await waitUntil('all wait', async () => service.app.clerkChangesFeed.watch.waiting === READERS)
    const id = await signUp(service)
    const replies = await Promise.all(waiting)
    for (const reply of replies) if (reply.changes[0]?.entityId !== id) t.fail('not the change')
    cursor = replies[0]?.cursor
    t.ok(replies.every((reply) => reply.cursor === cursor))
    t.ok(queries < 20, `${queries} queries of ${READERS} readers`)
  }
})

test('refusals: of the token, of cursors and values, and of what was pruned', async (t) => {
  const service = await startFeed(t)
  const { call, read, database, settled } = service
  for (const [options, challenge] of [
    [{}, 'Bearer'],
    [{ token: 'another' }, 'Bearer error="invalid_token"'],
    [{ headers: { authorization: `Basic ${TOKEN}` } }, 'Bearer'],
  ] as const) {
    const reply = await call('/api/changes', options)
    t.match(reply, { status: 401, body: { code: 'CHANGES_TOKEN_INVALID' } })
    t.ok(reply.headers.get('www-authenticate')?.startsWith(challenge))
    t.equal(reply.headers.get('cache-control'), 'no-store')
  }
  t.match(await read('?after=nonsense'), { status: 400, body: { code: 'INVALID_CURSOR' } })
  t.match(await read(`?after=${'x'.repeat(100)}`), { status: 400 })
  for (const query of ['limit=0', 'limit=1001', 'limit=x', 'wait=-1', 'wait=31', 'wait=1.5', 'after=a&after=b']) {
    t.match(await read(`?${query}`), { status: 400 }, query)
  }
  const { body } = await read()
  await signUp(service)
  await settled()
  await database.query(`update changes set occurred_at = now() - interval '8 days'`)
  await service.app.clerkRepository.pruneChanges(7)
  t.match(await read(`?after=${body.cursor}`), { status: 410, body: { code: 'CURSOR_EXPIRED' } })
  t.match(await read('?limit=1000&wait=0'), { status: 200 })
})

test('without a token there is no route, and without CHANGES there is no feed', async (t) => {
  const { call, database, app } = await startFeed(t, { settings: { CHANGES_TOKEN: '' } })
  t.match(await call('/api/changes', { token: TOKEN }), { status: 404, body: { code: 'NOT_FOUND' } })
  t.equal((await database.query('select from pg_trigger where not tgisinternal')).length, TRIGGERS_OF_ALL)
  t.ok(app.hasPlugin('clerk-changes'))
  const off = await startService(t)
  t.match(await off.call('/api/changes', { token: TOKEN }), { status: 404 })
  await signUp(off)
  t.strictSame(await off.database.query('select from changes'), [])
  t.notOk(off.app.hasPlugin('clerk-changes'))
})

test('the service closes while readers wait, who are answered', async (t) => {
  const { read, app } = await startFeed(t)
  await read()
  const waiting = read('?after=latest&wait=30')
  await new Promise((done) => setTimeout(done, 100))
  await app.close()
  t.match(await waiting, { status: 200, body: { changes: [] } })
})

test('user.created is reported once although webhook, sync and just-in-time sync raced', async (t) => {
  const service = await startFeed(t)
  const { clerk, call, read, settled } = service
  const users = Array.from({ length: 10 }, () => clerk.createUser())
  const tokens = users.map(({ id }) => clerk.sessionToken(clerk.signIn(id).id))
  const replies = await Promise.all(
    tokens.flatMap((token) => [
      call('/api/auth/sync-user', { method: 'POST', token }),
      call('/api/auth/profile', { token }),
      call('/api/auth/sync-user', { method: 'POST', token }),
    ]),
  )
  for (const { status } of replies) t.ok(status === 200 || status === 201)
  await clerk.webhooks.idle()
  await settled()
  const { body } = await read('?limit=1000')
  const created = body.changes.filter(
    ({ entity, op }: { entity: string; op: string }) => entity === 'user' && op === 'created',
  )
  t.strictSame(created.map(({ entityId }: { entityId: string }) => entityId).sort(), users.map(({ id }) => id).sort())
})

test('the feed waits for an unreachable database, and answers 503 meanwhile', async (t) => {
  const database = await createDatabase(t)
  const proxy = await createTcpProxy(t, database.url)
  await proxy.cut()
  const clerk = await createClerkEmulator()
  t.teardown(() => clerk.close())
  const { read, url, call } = await startFeed(t, { beside: { clerk, database: { ...database, url: proxy.url } } })
  clerk.webhooks.url = `${url}/clerk`
  t.match(await read(), { status: 503, body: { code: 'DATABASE_UNAVAILABLE' } })
  t.match(await call('/readyz'), { status: 503 })
  await proxy.restore()
  await waitUntil(
    'the triggers',
    async () => (await database.query('select from pg_trigger where not tgisinternal')).length === TRIGGERS_OF_ALL,
  )
  const { body } = await read()
  const waiting = read(`?after=${body.cursor}&wait=30`)
  await proxy.cut()
  await proxy.restore()
  const { id } = clerk.createUser()
  t.match((await waiting).body, { changes: [{ entityId: id }] })
})

test('health names a transaction that delays the feed, and how many changes were given up', async (t) => {
  const { app, call } = await startFeed(t)
  const real = app.clerkChangesStatus
  const consumer = { name: 'x', behind: 0, lagSeconds: 0, waiting: 0, dead: 2 }
  app.clerkChangesStatus = async () => ({ consumers: [consumer], unrecorded: [], delay: null })
  t.match((await call('/readyz')).body, {
    status: 'degraded',
    checks: { changes: { reason: /^2 changes were given up: / } },
  })
  app.clerkChangesStatus = async () => ({
    consumers: [],
    unrecorded: [],
    delay: { pid: 7, prepared: null, ageSeconds: 61 },
  })
  t.match((await call('/api/auth/health')).body, {
    status: 'degraded',
    checks: { changes: { status: 'degraded', reason: /process 7, open for 61 s, delays the change feed: end it/ } },
  })
  app.clerkChangesStatus = real
})

test('health is degraded while the tables have no triggers of the feed', async (t) => {
  const { call, database } = await startFeed(t)
  await setChangeFeed(database.url, { isEnabled: false })
  t.match((await call('/readyz')).body, {
    status: 'degraded',
    checks: { changes: { status: 'degraded', reason: /^changes are not recorded, .*users: restart a replica/ } },
  })
  await setChangeFeed(database.url, { isEnabled: true })
  t.match((await call('/readyz')).body, { checks: { changes: { status: 'ok' } } })
})

test('the plugin works alone in another app, with route, errors and handlers', async (t) => {
  const database = await createDatabase(t)
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(clerkDatabase, { connectionString: database.url })
  await app.register(clerkChanges, { database: { connectionString: database.url }, token: TOKEN })
  const seen: string[] = []
  app.clerkOn('user.created', { name: 'own' }, ({ entityId }) => seen.push(entityId))
  await app.ready()
  const refused = await app.inject('/api/changes')
  t.match([refused.statusCode, refused.json()], [401, { code: 'CHANGES_TOKEN_INVALID', statusCode: 401 }])
  await database.query("insert into users (id, sync_source) values ('user_1', 'x')")
  await waitUntil('the handler', async () => seen.length === 1)
  const reply = await app.inject({ url: '/api/changes?wait=10', headers: { authorization: `Bearer ${TOKEN}` } })
  t.match(reply.json(), { changes: [{ entityId: 'user_1' }] })
})
