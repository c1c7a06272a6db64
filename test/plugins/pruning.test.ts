import { test } from 'tap'
import { createDatabase } from '../helpers/database.ts'
import { startService } from '../helpers/service.ts'
import { createTcpProxy } from '../helpers/tcp-proxy.ts'

const insertOld = `insert into webhook_events (id, type, outcome, received_at)
  select 'msg_' || n, 'user.updated', 'applied', now() - interval '31 days' from generate_series(1, 2500) n`

test('old events are pruned at the start and again after the interval', async (t) => {
  const database = await createDatabase(t)
  await database.query(insertOld)
  await database.query(`insert into webhook_events (id, type, outcome) values ('msg_new', 'user.updated', 'applied')`)
  const left = () => database.query('select id from webhook_events')
  await startService(t, {
    settings: { DATABASE_URL: database.url },
    change: (options) => ({ ...options, pruning: { ...options.pruning, intervalMs: 50 } }),
  })
  while ((await left()).length > 1);
  t.strictSame(await left(), [{ id: 'msg_new' }])
  await database.query(insertOld)
  while ((await left()).length > 1);
  t.strictSame(await left(), [{ id: 'msg_new' }])
})

test('old ended sessions are pruned too, and no others', async (t) => {
  const database = await createDatabase(t)
  await database.query(`insert into sessions (id, user_id, status, clerk_updated_at, updated_at)
    select 'sess_' || status || '_' || age, 'user_1', status, now(), now() - make_interval(days => age)
    from unnest(array['ended', 'active']) status, unnest(array[1, 31]) age`)
  const left = () => database.query('select id from sessions order by id')
  await startService(t, { settings: { DATABASE_URL: database.url } })
  while ((await left()).length > 3);
  t.strictSame(await left(), [{ id: 'sess_active_1' }, { id: 'sess_active_31' }, { id: 'sess_ended_1' }])
})

test('a database failure does not end the service', async (t) => {
  const database = await createDatabase(t)
  const proxy = await createTcpProxy(t, database.url)
  await proxy.cut()
  const { call } = await startService(t, { settings: { DATABASE_URL: proxy.url } })
  t.equal((await call('/livez')).status, 200)
})
