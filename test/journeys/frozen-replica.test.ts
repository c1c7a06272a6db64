/** A replica that is stopped where it is, as by a debugger, a frozen container or a paused machine, keeps nobody waiting. */
import { setTimeout as sleep } from 'node:timers/promises'
import tap, { test } from 'tap'
import { createDatabase, type TestDatabase } from '../helpers/database.ts'
import { readFixture } from '../helpers/fixture.ts'
import { createProduction } from '../helpers/production.ts'
import { message, session, snapshot, startRepository, T0 } from '../helpers/repository.ts'
import { createTcpProxy } from '../helpers/tcp-proxy.ts'
import { waitUntil } from '../helpers/wait-until.ts'

tap.setTimeout(900_000)

const LANES = 48
const ROUNDS = 8

/** Waits until PostgreSQL has done all that it was sent. */
const untilDone = ({ query }: TestDatabase) =>
  waitUntil('the end of what was sent', async () => {
    const busy = await query(`select 1 from pg_stat_activity where datname = current_database()
      and application_name = 'clerk-session-sync' and state = 'active' and wait_event is distinct from 'ClientRead'`)
    return busy.length === 0
  })

/** Whether an application may take the lock of every row at once. */
async function areRowsFree({ query }: TestDatabase): Promise<boolean> {
  for (const table of ['users', 'sessions', 'webhook_events']) {
    const isFree = await query(`select 1 from ${table} for update nowait`).then(
      () => true,
      (error) => {
        if (error.code !== '55P03') throw error
        return false
      },
    )
    if (!isFree) return false
  }
  return true
}

const idleInTransaction = ({ query }: TestDatabase) =>
  query(`select query from pg_stat_activity where datname = current_database() and application_name = 'clerk-session-sync'
    and state like 'idle in transaction%' and now() - state_change > '5 s'`)

test('a replica paused at any moment under load holds no row lock and no idle transaction', async (t) => {
  const { clerk, database, start } = await createProduction(t)
  const replica = await start()
  const pad = 'x'.repeat(100_000)
  let isOver = false
  const lanes = Array.from({ length: LANES }, async (_, lane) => {
    for (let i = 0; !isOver; i += 1) {
      const event = readFixture('user.updated')
      const data = {
        ...event.data,
        id: `user_${(lane + i) % 40}`,
        updated_at: event.data.updated_at + i,
        // Every other lane sends large ones.
        public_metadata: lane % 2 === 0 ? { pad } : {},
      }
      const body = JSON.stringify({ ...event, timestamp: event.timestamp + i, data })
      const headers = { 'content-type': 'application/json', ...clerk.sign(body, { id: `msg_${lane}_${i}` }) }
      await fetch(`${replica.url}/clerk`, { method: 'POST', body, headers })
        .then((reply) => reply.text())
        .catch(() => undefined)
    }
  })
  await waitUntil('the load', async () => (await database.query('select 1 from users')).length >= 40)
  for (let round = 0; round < ROUNDS; round += 1) {
    await sleep(20 + Math.random() * 100)
    replica.child.kill('SIGSTOP')
    await untilDone(database)
    if (round === 0) await sleep(5_500)
    t.strictSame(await idleInTransaction(database), [])
    t.ok(await areRowsFree(database))
    replica.child.kill('SIGCONT')
  }
  isOver = true
  await Promise.all(lanes)
})

test('a replica paused at any byte of a large batch holds no row lock', async (t) => {
  const database = await createDatabase(t)
  const proxy = await createTcpProxy(t, database.url)
  const options = { database, connectionString: proxy.url, max: 1, storePayloads: true, queryTimeoutMs: 60_000 }
  const { apply } = await startRepository(t, options)
  const batch = (time: number) =>
    Array.from({ length: 40 }, (_, i) => ({
      message: message(`msg_${i}_${time}`, { payload: 'x'.repeat(20_000) }),
      user: snapshot(`user_${i}`, time, { publicMetadata: { pad: 'x'.repeat(20_000) } }),
      session: session(`sess_${i}`, `user_${i}`, 'active', time),
    }))
  await apply(...batch(T0))
  const before = proxy.sent()
  t.strictSame(new Set(await apply(...batch(T0 + 1))), new Set(['applied']))
  const whole = proxy.sent() - before
  t.ok(whole > 1_500_000, `${whole} bytes`)
  const steps = 16
  // The last messages, of 150 bytes together, execute what has been bound, and commit: amid them PostgreSQL's own limit frees the rows.
  const last = Array.from({ length: 6 }, (_, i) => whole - 5 - i * 25)
  const places = [...Array.from({ length: steps }, (_, i) => Math.floor((i * whole) / steps)), whole - 300, ...last]
  for (const [i, bytes] of places.entries()) {
    await proxy.restore()
    // On a connection that has parsed the statements, so that no more is sent than before.
    await waitUntil('a connection', () =>
      apply(...batch(T0 + 2 * i + 2)).then(
        () => true,
        () => false,
      ),
    )
    const sentBefore = proxy.sent()
    proxy.stopAfter(bytes)
    const stopped = apply(...batch(T0 + 2 * i + 3)).catch(() => undefined)
    await waitUntil('the place', async () => proxy.sent() - sentBefore >= bytes)
    await untilDone(database)
    if (last.includes(bytes)) await waitUntil(`free rows at byte ${bytes}`, () => areRowsFree(database))
    else t.ok(await areRowsFree(database), `byte ${bytes} of ${whole}`)
    t.strictSame(await idleInTransaction(database), [])
    await proxy.cut()
    await stopped
  }
  await proxy.restore()
})
