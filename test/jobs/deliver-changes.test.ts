import { setTimeout as sleep } from 'node:timers/promises'
import { type Test, test } from 'tap'
import { addConsumer } from '../../src/db/changes/consumers.ts'
import { setChangeFeed } from '../../src/db/changes/enable.ts'
import { type ConsumerOptions, type DeliverOptions, deliverChanges } from '../../src/jobs/deliver-changes.ts'
import { watchChanges } from '../../src/jobs/watch-changes.ts'
import { snapshot, startRepository, T0 } from '../helpers/repository.ts'
import { createTcpProxy } from '../helpers/tcp-proxy.ts'
import { waitUntil } from '../helpers/wait-until.ts'

async function startConsumer(t: Test, consumer: Partial<ConsumerOptions>, options: Partial<DeliverOptions> = {}) {
  const started = await startRepository(t)
  const { pool, database } = started
  await setChangeFeed(database.url, { isEnabled: true })
  await addConsumer(pool, 'test')
  const delivered: string[] = []
  const lost: string[] = []
  const troubles: unknown[] = []
  const start = (more: Partial<DeliverOptions> = {}) => {
    const stop = new AbortController()
    const watch = watchChanges({ pool: more.pool ?? pool, onTrouble: (error) => troubles.push(error) })
    const done = deliverChanges(
      {
        name: 'test',
        concurrency: 4,
        scheduleMs: [],
        deliver: async ({ change }) => void delivered.push(change.entityId),
        ...consumer,
      },
      {
        pool,
        watch,
        signal: stop.signal,
        leaseTtlMs: 300,
        events: {
          onDelivered: () => undefined,
          onFailure: () => undefined,
          onLost: (name) => lost.push(name),
          onTrouble: (_name, error) => troubles.push(error),
        },
        ...options,
        ...more,
      },
    )
    const end = async () => {
      stop.abort()
      await watch.end()
      await done
    }
    t.teardown(end)
    return end
  }
  const insert = (id: string) => database.query(`insert into users (id, sync_source) values ($1, 'x')`, [id])
  return { ...started, start, delivered, lost, troubles, insert }
}

test('without NOTIFY, polls find changes', async (t) => {
  const { start, delivered, insert } = await startConsumer(t, {})
  start()
  await insert('user_1')
  await waitUntil('the first', async () => delivered.length === 1)
  await sleep(1_500)
  await insert('user_2')
  await waitUntil('the second', async () => delivered.length === 2)
})

test('a delivery that hangs delays no other entity, and the number of changes read ahead is limited', async (t) => {
  const hanging = Promise.withResolvers<void>()
  const seen: string[] = []
  const { start, insert, database } = await startConsumer(
    t,
    {
      deliver: async ({ change }) => {
        seen.push(change.entityId)
        if (change.entityId === 'user_0') await hanging.promise
      },
    },
    { maxOpen: 5 },
  )
  for (let i = 0; i < 4; i += 1) await insert(`user_${i}`)
  start()
  await waitUntil('the others', async () => seen.length === 4)
  for (let i = 4; i < 12; i += 1) await insert(`user_${i}`)
  await sleep(200)
  t.ok(seen.length < 12, 'it does not read on for ever')
  const [place] = await database.query('select seq::int from change_consumers')
  const [first] = await database.query("select seq::int from changes where entity_id = 'user_0'")
  t.equal(place?.seq, first?.seq - 1, 'its place stays before what hangs')
  hanging.resolve()
  await waitUntil('all', async () => seen.length === 12)
})

test('with the largest number of stored retries the consumer reads no further, until one succeeds', async (t) => {
  let isBroken = true
  const seen = new Set<string>()
  const { start, insert, database } = await startConsumer(
    t,
    {
      scheduleMs: [100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100],
      deliver: async ({ change }) => {
        if (isBroken) throw new Error('refused')
        seen.add(change.entityId)
      },
    },
    { maxKept: 3 },
  )
  for (let i = 0; i < 3; i += 1) await insert(`user_${i}`)
  start()
  const kept = async () => (await database.query('select from change_deliveries')).length
  await waitUntil('three kept', async () => (await kept()) === 3)
  for (let i = 3; i < 9; i += 1) await insert(`user_${i}`)
  await sleep(300)
  t.ok((await kept()) <= 9)
  isBroken = false
  await waitUntil('all', async () => seen.size === 9)
})

test('changes that were pruned before their delivery are reported as lost, and the consumer continues', async (t) => {
  const { start, delivered, lost, insert, database } = await startConsumer(t, {})
  await database.query(
    `insert into sync_state (job, state) select 'changes pruned', jsonb_build_object('xid', (xid::text::bigint)::text, 'seq', '5') from change_consumers`,
  )
  start()
  await waitUntil('the loss', async () => lost.length > 0)
  await insert('user_1')
  await waitUntil('the next', async () => delivered.length === 1)
  t.strictSame(lost, ['test'])
})

test('stored retries are delivered by the next process, also after a database failure', async (t) => {
  let isBroken = true
  const seen: string[] = []
  const consumer: Partial<ConsumerOptions> = {
    scheduleMs: [200, 200, 200, 200, 200, 200, 200, 200],
    deliver: async ({ change }) => {
      if (isBroken) throw new Error('refused')
      seen.push(`${change.entityId} ${change.op}`)
    },
  }
  const { start, insert, database, troubles } = await startConsumer(t, consumer)
  const proxy = await createTcpProxy(t, database.url)
  const { pool } = await startRepository(t, { database, connectionString: proxy.url })
  const end = start({ pool })
  await insert('user_1')
  await database.query("update users set username = 'x'")
  const kept = async () => (await database.query('select from change_deliveries')).length
  await waitUntil('both kept', async () => (await kept()) === 2)
  await end()
  isBroken = false
  start({ pool })
  await waitUntil('both', async () => seen.length === 2)
  t.strictSame(seen, ['user_1 created', 'user_1 updated'])
  await waitUntil('none kept', async () => (await kept()) === 0)
  await proxy.cut()
  await waitUntil('trouble', async () => troubles.length > 0)
  await insert('user_2')
  await proxy.restore()
  await waitUntil('the next', async () => seen.includes('user_2 created'))
})

test('changes of one user are delivered in order, beside other deliveries', async (t) => {
  const seen: string[] = []
  const { start, apply } = await startConsumer(t, {
    deliver: async ({ change }) => {
      await sleep(Math.random() * 5)
      seen.push(`${change.entityId} ${change.changed.join() || change.op}`)
    },
  })
  start()
  for (let i = 0; i < 10; i += 1) {
    await apply(
      ...['a', 'b', 'c'].map((id) => ({
        user: snapshot(`user_${id}`, T0 + i, { eventAt: null, firstName: String(i) }),
      })),
    )
  }
  await waitUntil('all', async () => seen.length === 30)
  for (const id of ['a', 'b', 'c']) {
    t.strictSame(
      seen.filter((line) => line.startsWith(`user_${id}`)),
      [`user_${id} created`, ...Array(9).fill(`user_${id} first_name`)],
    )
  }
})

test('a database failure is reported, and the consumer continues after it', async (t) => {
  const { start, delivered, insert, database, troubles } = await startConsumer(t, {})
  const proxy = await createTcpProxy(t, database.url)
  const { pool } = await startRepository(t, { database, connectionString: proxy.url })
  await proxy.cut()
  start({ pool })
  await waitUntil('trouble', async () => troubles.length > 0)
  await insert('user_1')
  await proxy.restore()
  await waitUntil('it', async () => delivered.length === 1)
})

test('changes of an entity with a waiting retry are stored behind it, and delivered in order', async (t) => {
  let isBroken = true
  const seen: string[] = []
  const { start, insert, database } = await startConsumer(t, {
    scheduleMs: Array(50).fill(150),
    deliver: async ({ change }) => {
      if (isBroken) throw new Error('refused')
      seen.push(change.op)
    },
  })
  start()
  await insert('user_1')
  await waitUntil('it waits', async () => (await database.query('select from change_deliveries')).length === 1)
  await database.query("update users set username = 'x'")
  await database.query('delete from users')
  await waitUntil('all wait', async () => (await database.query('select from change_deliveries')).length === 3)
  isBroken = false
  await waitUntil('all', async () => seen.length === 3)
  t.strictSame(seen, ['created', 'updated', 'deleted'])
})
