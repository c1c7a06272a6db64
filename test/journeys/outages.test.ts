import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import pg from 'pg'
import tap, { type Test, test } from 'tap'
import { migrate } from '../../src/db/migrate.ts'
import { readFixture } from '../helpers/fixture.ts'
import { startOwnPostgres } from '../helpers/own-postgres.ts'
import { createProduction } from '../helpers/production.ts'
import { waitUntil } from '../helpers/wait-until.ts'

tap.setTimeout(900_000)

const IDLE_CONNECTIONS = 1_000
// As many as a replica has connections for, with room to spare (`SOCKET_LIMITS`).
const FLOOD = 1_500
// Shorter than the time limit of a query: health has one of its own.
const HEALTH_LIMIT_MS = 3_300
const LIMIT_MS = 6_000

async function start(t: Test) {
  const postgres = await startOwnPostgres(t)
  await migrate(postgres.url)
  const query = async () => []
  const connect = () => Promise.reject(new Error('not used'))
  const { clerk, start } = await createProduction(t, { url: postgres.url, query, connect })
  const service = await start()
  const tokens = Array.from({ length: 50 }, () => clerk.sessionToken(clerk.signIn(clerk.createUser().id).id))
  const send = async (path: string, init: RequestInit = {}) => {
    const startedAt = performance.now()
    const reply = await fetch(service.url + path, init)
    const text = await reply.text()
    return {
      status: reply.status,
      retryAfter: reply.headers.get('retry-after'),
      text,
      ms: performance.now() - startedAt,
    }
  }
  const bearer = (i = 0) => ({ headers: { authorization: `Bearer ${tokens[i % tokens.length]}` } })
  const webhook = (id: string): RequestInit => {
    const event = readFixture('user.created')
    const body = JSON.stringify({ ...event, data: { ...event.data, id: `user_${id}` } })
    return { method: 'POST', body, headers: { 'content-type': 'application/json', ...clerk.sign(body, { id }) } }
  }
  const routes = () =>
    [
      ['/api/auth/profile', bearer(1)],
      ['/api/auth/verify', bearer(2)],
      ['/api/auth/sync-user', { method: 'POST', ...bearer(3) }],
      ['/clerk', webhook('msg_frozen')],
    ] as [string, RequestInit][]
  const memoryMb = () => {
    const status = readFileSync(`/proc/${service.child.pid}/status`, 'utf8')
    return Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1]) / 1024
  }
  return { postgres, service, send, bearer, routes, webhook, memoryMb }
}

test('a frozen database: every route answers in time, a flood fills no memory, and it recovers by itself', async (t) => {
  const { postgres, send, bearer, routes, memoryMb } = await start(t)
  for (const [path, init] of routes()) t.match(await send(path, init), { status: /^20[01]$/ }, path)
  for (let i = 0; i < 50; i += 1) await send('/api/auth/profile', bearer(i))
  const before = memoryMb()

  postgres.freeze()
  const health = send('/api/auth/health')
  for (const round of [1, 2]) {
    const answers = await Promise.all(routes().map(async ([path, init]) => ({ path, ...(await send(path, init)) })))
    for (const { path, status, retryAfter, text, ms } of answers) {
      t.equal(status, 503, `${path}: ${text}`)
      t.match(text, 'DATABASE_UNAVAILABLE')
      t.ok(Number(retryAfter) >= 1, 'says when to try again')
      t.ok(ms < LIMIT_MS, `${path} in ${Math.round(ms)} ms, round ${round}`)
    }
  }
  const down = await health
  t.equal(down.status, 503)
  t.ok(down.retryAfter !== null && down.ms < HEALTH_LIMIT_MS, `health in ${Math.round(down.ms)} ms`)

  const flood = await Promise.all(Array.from({ length: FLOOD }, (_, i) => send('/api/auth/profile', bearer(i))))
  t.strictSame(new Set(flood.map(({ status }) => status)), new Set([503]))
  t.equal((await send('/livez')).status, 200)
  const after = memoryMb()
  t.ok(after < before + 150, `memory from ${Math.round(before)} to ${Math.round(after)} MB`)

  postgres.thaw()
  await waitUntil('health', async () => (await send('/readyz')).status === 200)
  for (const [path, init] of routes()) t.match(await send(path, init), { status: /^20[01]$/ }, path)
})

test('idle connections and slow clients do not delay others', async (t) => {
  const { service, send, routes, memoryMb } = await start(t)
  const before = memoryMb()
  const sockets: Socket[] = []
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
  })
  for (let i = 0; i < IDLE_CONNECTIONS; i += 1) {
    const socket = connect(service.port, '127.0.0.1')
    sockets.push(socket)
    await once(socket, 'connect')
  }
  // A request that never comes to its end: half a head, and half a body.
  const [slowHead, slowBody] = sockets as [Socket, Socket]
  slowHead.write('GET /api/auth/profile HTTP/1.1\r\nhost: x\r\n')
  slowBody.write('POST /clerk HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{')
  for (const [path, init] of routes()) t.match(await send(path, init), { status: /^20[01]$/ }, path)
  const after = memoryMb()
  t.ok(after < before + 150, `memory from ${Math.round(before)} to ${Math.round(after)} MB`)
  const replies = await Promise.all([slowHead, slowBody].map(async (socket) => (await once(socket, 'data')).join()))
  for (const reply of replies) t.match(reply, /^HTTP\/1\.1 408 /, 'and a slow one is shown the door')
})

test('after all connections were terminated, acknowledged changes are stored, and the next requests are served', async (t) => {
  const { postgres, send, webhook } = await start(t)
  const admin = new pg.Client({ connectionString: postgres.url })
  admin.on('error', () => undefined)
  await admin.connect()
  t.teardown(() => admin.end())
  const acknowledged: string[] = []
  for (let round = 0; round < 5; round += 1) {
    const sent = Array.from({ length: 40 }, async (_, i) => {
      const id = `msg_${round}_${i}`
      const { status, text } = await send('/clerk', webhook(id))
      if (status === 200) acknowledged.push(id)
      else t.match(text, 'DATABASE_UNAVAILABLE')
    })
    await admin.query(
      "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'clerk-session-sync'",
    )
    await Promise.all(sent)
  }
  await waitUntil('a webhook being taken', async () => (await send('/clerk', webhook('msg_last'))).status === 200)
  const { rows } = await admin.query('select id from clerk.webhook_events')
  const found = new Set(rows.map(({ id }) => id))
  t.strictSame(
    [...acknowledged, 'msg_last'].filter((id) => !found.has(id)),
    [],
  )
})
