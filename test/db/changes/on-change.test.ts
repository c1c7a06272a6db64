import { setTimeout as sleep } from 'node:timers/promises'
import { type Test, test } from 'tap'
import { setChangeFeed } from '../../../src/db/changes/enable.ts'
import type { OnChange } from '../../../src/db/changes/on-change.ts'
import { createPool } from '../../../src/db/pool.ts'
import { createRepository } from '../../../src/db/repository.ts'
import type { FeedChange } from '../../../src/domain/feed.ts'
import { createDatabase, type TestDatabase } from '../../helpers/database.ts'
import { message, SECOND, session, snapshot, T0 } from '../../helpers/repository.ts'

async function start(t: Test, onChange: OnChange, given?: TestDatabase) {
  const database = given ?? (await createDatabase(t))
  await setChangeFeed(database.url, { isEnabled: true })
  await database.query('create table if not exists public.jobs (id text primary key)')
  const pool = createPool({ connectionString: database.url, onError: () => undefined })
  t.teardown(() => pool.end())
  return { database, pool, ...createRepository({ pool, onChange }) }
}

const jobs = async (database: TestDatabase) =>
  (await database.query('select id from public.jobs order by 1')).map(({ id }) => id)

test('onChange runs in the transaction, with its changes only', async (t) => {
  const calls: FeedChange[][] = []
  const { apply, database } = await start(t, async (client, changes) => {
    calls.push(changes)
    for (const { id } of changes) await client.query('insert into public.jobs values ($1)', [id])
  })
  const late = await database.connect()
  t.teardown(() => late.release(true))
  await late.query("begin; insert into clerk.users (id, sync_source) values ('user_late', 'x')")
  await database.query("insert into users (id, sync_source) values ('user_foreign', 'x')")
  const change = {
    message: message('m1'),
    user: snapshot('user_1', T0),
    session: session('sess_1', 'user_1', 'active', T0),
  }
  t.match(await apply([change]), [{ outcome: 'applied', created: true }])
  t.match(calls, [
    [
      { entity: 'user', entityId: 'user_1', op: 'created', cause: 'webhook' },
      { entity: 'session', entityId: 'sess_1' },
    ],
  ])
  t.equal(calls[0]?.length, 2)
  t.strictSame(await jobs(database), calls[0]?.map(({ id }) => id).sort())
  await apply([{ message: message('m2'), user: snapshot('user_1', T0) }, { message: message('m3') }])
  t.equal(calls.length, 1, 'without a change it is not called')
  t.equal((await database.query('select from webhook_events')).length, 3, 'which are committed all the same')
})

test('an error of onChange rolls back only its change', async (t) => {
  const { apply, database } = await start(t, async (client, changes) => {
    for (const { entityId } of changes) await client.query('insert into public.jobs values ($1)', [entityId])
    if (changes.some(({ entityId }) => entityId === 'user_bad')) throw new Error('no')
  })
  const of = (id: string) => ({ message: message(`m_${id}`), user: snapshot(id, T0) })
  const results = await apply([of('user_1'), of('user_2'), of('user_bad'), of('user_3')])
  t.match(results, [
    { outcome: 'applied' },
    { outcome: 'applied' },
    { error: { code: 'ON_CHANGE_FAILED', statusCode: 503 } },
    { outcome: 'applied' },
  ])
  t.strictSame(await jobs(database), ['user_1', 'user_2', 'user_3'])
  t.strictSame(
    (await database.query('select id from users order by 1')).map(({ id }) => id),
    ['user_1', 'user_2', 'user_3'],
  )
  t.notOk(
    (await database.query('select id from webhook_events')).some(({ id }) => id === 'm_user_bad'),
    'Svix sends it again',
  )
})

test('onChange cannot continue after a failed query, use the connection later, or run forever', async (t) => {
  let kept: Parameters<OnChange>[0] | undefined
  const behaviours: Record<string, OnChange> = {
    user_swallows: (client) => client.query('select 1 / 0').catch(() => undefined),
    user_forgets: (client) => {
      client.query('select pg_sleep(0.2)').catch(() => undefined)
    },
    user_hangs: () => new Promise(() => undefined),
    user_sleeps: (client) => client.query('set local statement_timeout = 0; select pg_sleep(20)'),
    user_keeps: (client) => {
      kept = client
    },
  }
  const { apply, database, pool } = await start(t, (client, [change]) =>
    behaviours[change?.entityId ?? '']?.(client, []),
  )
  for (const id of ['user_swallows', 'user_forgets', 'user_hangs', 'user_sleeps']) {
    t.match(await apply([{ user: snapshot(id, T0) }]), [{ error: { code: 'ON_CHANGE_FAILED' } }], id)
  }
  t.match(await apply([{ user: snapshot('user_keeps', T0) }]), [{ outcome: 'applied' }])
  await t.rejects(kept?.query('select 1') as Promise<unknown>, /is over/)
  t.strictSame(await database.query('select id from users'), [{ id: 'user_keeps' }])
  await sleep(50)
  t.match(
    await pool.query({ name: '', text: 'select 1 as one', values: [] }),
    { rows: [{ one: 1 }] },
    'connections are good',
  )
  const [row] = await database.query(
    "select count(*)::int from pg_stat_activity where datname = current_database() and state like 'idle in transaction%'",
  )
  t.equal(row?.count, 0)
})

test('two replicas with onChange lose no change to a deadlock or a duplicate', async (t) => {
  const onChange: OnChange = async (client, changes) => {
    for (const { id } of changes) await client.query('insert into public.jobs values ($1)', [id])
  }
  const one = await start(t, onChange)
  const two = await start(t, onChange, one.database)
  const of = (replica: number, n: number) => ({
    message: message(`m_${n % 40}`),
    user: snapshot(`user_${n % 8}`, T0 + n * SECOND, { firstName: `${replica} ${n}` }),
  })
  // Too slow for a moment is 503, which Svix sends again.
  const deliver = async (apply: typeof one.apply, batch: Parameters<typeof one.apply>[0]): Promise<unknown> =>
    apply(batch).catch((error) => {
      t.equal(error.code, 'DATABASE_UNAVAILABLE')
      return deliver(apply, batch)
    })
  await Promise.all(
    [one, two].flatMap(({ apply }, replica) =>
      Array.from({ length: 30 }, (_, i) => deliver(apply, [of(replica, i), of(replica, i + 30)])),
    ),
  )
  const told = await one.database.query("select 'chg_' || seq as id from changes order by 1")
  t.ok(told.length >= 8)
  t.strictSame(await jobs(one.database), told.map(({ id }) => id).sort(), 'a job for each change and none without')
})
