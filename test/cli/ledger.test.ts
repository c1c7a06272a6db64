import pg from 'pg'
import { type Test, test } from 'tap'
import { startCommandLine } from '../helpers/command-line.ts'
import { createDatabase } from '../helpers/database.ts'
import { readFixture } from '../helpers/fixture.ts'
import { createTcpProxy } from '../helpers/tcp-proxy.ts'
import { waitUntil } from '../helpers/wait-until.ts'

const fail = (
  database: { query(sql: string, values: unknown[]): Promise<unknown> },
  id: string,
  payload: string,
  days = 0,
) =>
  database.query(
    `insert into webhook_events (id, type, object_id, outcome, error, payload, event_at, received_at)
     values ($1, 'user.updated', 'user_1', 'failed', 'was refused', $2, now(), now() - make_interval(days => $3))`,
    [id, payload, days],
  )

async function startWithFailures(t: Test) {
  const commandLine = await startCommandLine(t)
  const event = readFixture('user.updated')
  await fail(commandLine.database, 'msg_1', JSON.stringify(event), 2)
  await fail(commandLine.database, 'msg_2', 'no JSON')
  return { ...commandLine, event }
}

test('replay lists what failed, and applies it', async (t) => {
  const { database, run, event } = await startWithFailures(t)
  const list = await run('replay', '--list')
  t.equal(list.code, 0)
  t.match(list.output, /msg_1 +user.updated +user_1 +was refused\n.*msg_2 .*\n2 failed events/)
  t.notMatch(JSON.stringify((await run('replay', '--list', '--json')).json), /no JSON/, 'bodies are personal')
  const since = new Date(Date.now() - 86_400_000).toISOString()
  const lately = (await run('replay', '--list', '--since', since, '--json')).json.events
  t.strictSame(
    lately.map(({ id }: { id: string }) => id),
    ['msg_2'],
  )
  t.strictSame((await run('replay', '--list', '--type', 'user.created', '--json')).json.events, [])

  const one = await run('replay', '--id', 'msg_1', 'msg_9', '--json')
  t.equal(one.code, 1, one.output)
  t.strictSame(one.json, {
    isComplete: true,
    replayed: 1,
    failed: 0,
    unknown: ['msg_9'],
    results: [{ id: 'msg_1', type: 'user.updated', objectId: 'user_1', outcome: 'applied' }],
  })
  t.strictSame(await database.query('select id from users'), [{ id: event.data.id }])
  const rest = await run('replay')
  t.equal(rest.code, 1)
  t.match(rest.output, /msg_2 .* failed +the body is not JSON\n1 event replayed, 1 failed again/)
  await database.query(`update webhook_events set object_id = null, error = null where id = 'msg_2'`)
  t.match((await run('replay', '--list')).output, /msg_2 +\S+ +– +–\n/)
  t.equal((await run('replay', '--since', 'yesterdayish')).code, 2)
})

test('Ctrl-C ends a replay between two events', async (t) => {
  const { database, start } = await startWithFailures(t)
  const blocker = `begin; select 1 from clerk.webhook_events where id = 'msg_1' for update`
  const client = new pg.Client(database.url)
  await client.connect()
  await client.query(blocker)
  const running = start('replay', '--json')
  const waits = `select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`
  await waitUntil('the wait for the row', async () => (await database.query(waits)).length > 0)
  running.child.kill('SIGTERM')
  await running.until(/stopping after the current step/)
  await client.query('rollback')
  await client.end()
  t.equal(await running.exit, 130)
  const { isComplete, replayed } = JSON.parse(running.stdout())
  t.strictSame([isComplete, replayed], [false, 1])
})

test('a replay that loses the database says what it has done', async (t) => {
  const { database, run, env } = await startWithFailures(t)
  const proxy = await createTcpProxy(t, database.url)
  env.DATABASE_URL = proxy.url
  const client = new pg.Client(database.url)
  await client.connect()
  t.teardown(() => client.end())
  await client.query(`begin; select 1 from clerk.webhook_events where id = 'msg_2' for update`)
  const running = run('replay')
  const waits = `select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`
  await waitUntil('the wait for the second', async () => (await database.query(waits)).length > 0)
  await proxy.cut()
  const { code, output } = await running
  t.equal(code, 1)
  t.match(output, /^msg_1 .* applied .*\n1 event replayed, 0 failed again\.\nclerk-session-sync: ./m)
  const nobody = await run('replay')
  t.equal(nobody.code, 1)
  t.match(nobody.output, /^clerk-session-sync: PostgreSQL is not available .*ECONNREFUSED/, 'nothing was done')
})

test('prune deletes old events and ended sessions, and nothing else', async (t) => {
  const { database, run } = await startWithFailures(t)
  await database.query(`insert into sessions (id, user_id, status, clerk_updated_at, updated_at)
    select s || n, 'user_1', s, now(), now() - interval '40 days'
    from generate_series(1, 1500) n, unnest(array['ended', 'active']) s`)
  await database.query(`update sessions set updated_at = now() - interval '3 days' where id = 'ended1'`)
  const { code, output } = await run('prune')
  t.equal(code, 0)
  t.match(output, /Deleted: 0 events older than 30 days, 1,499 ended sessions, 0 changes of the feed/)
  t.strictSame((await run('prune', '--days', '1', '--json')).json, {
    retentionDays: 1,
    events: 1,
    sessions: 0,
    changes: 0,
  })
  t.strictSame(await database.query('select status, count(*)::int from sessions group by 1 order by 1'), [
    { status: 'active', count: 1500 },
    { status: 'ended', count: 1 },
  ])
  for (const days of ['many', '0']) t.equal((await run('prune', '--days', days)).code, 2)
})

test('migrate --status lists applied migrations, and changes nothing', async (t) => {
  const database = await createDatabase(t, { isEmpty: true })
  const { run } = await startCommandLine(t, {}, { DATABASE_URL: database.url })
  const before = await run('migrate', '--status')
  t.equal(before.code, 1)
  t.match(before.output, /PENDING {2}0000_init\n/)
  t.strictSame(await database.query(`select to_regclass('users') as users`), [{ users: null }])
  const replay = await run('replay')
  t.equal(replay.code, 1)
  t.match(replay.output, 'clerk-session-sync: the database is not migrated: run clerk-session-sync migrate')
  t.equal((await run('migrate', '--json')).json.isUpToDate, true)
  const after = await run('migrate', '--status')
  t.equal(after.code, 0)
  t.match(after.output, /applied {2}0000_init\n/)
})

test('replay --discard discards a failed event for good', async (t) => {
  const { database, run } = await startWithFailures(t)
  const discarded = await run('replay', '--discard', '--id', 'msg_2', '--json')
  t.equal(discarded.code, 0)
  t.strictSame(discarded.json, { discarded: ['msg_2'], unknown: [] })
  const again = await run('replay', '--discard', '--id', 'msg_1', 'msg_2')
  t.equal(again.code, 1)
  t.equal(again.output, '1 failed event discarded.\nmsg_2 is not a failed event.\n')
  t.match(await run('replay', '--list'), { code: 0, output: /0 failed events/ })
  t.strictSame(await database.query('select outcome, payload from webhook_events order by id'), [
    { outcome: 'discarded', payload: null },
    { outcome: 'discarded', payload: null },
  ])
  t.equal((await run('replay', '--discard')).code, 2)
})
