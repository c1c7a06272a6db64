import { test } from 'tap'
import { findDeadLetters } from '../../src/db/changes/consumers.ts'
import { createPool } from '../../src/db/pool.ts'
import { startCommandLine } from '../helpers/command-line.ts'
import { waitUntil } from '../helpers/wait-until.ts'

const CHANGES = { CHANGES: 'true' }
const LETTER = `insert into change_deliveries (consumer, xid, seq, entity, entity_id, op, attempts, dead_at, error)
  values ('webhook', '5', 7, 'user', 'user_1', 'created', 8, now(), 'answered 500'),
    ('welcome-mail', '5', 8, 'user', 'user_2', 'deleted', 8, now(), null)`

test('migrate turns the feed on, leaves it as it is, and turns it off', async (t) => {
  const { run, database, env } = await startCommandLine(t)
  const isOn = async () => (await database.query('select from pg_trigger where not tgisinternal')).length > 0
  await run('migrate')
  t.notOk(await isOn())
  env.CHANGES = 'true'
  await run('migrate')
  t.ok(await isOn())
  delete env.CHANGES
  await run('migrate')
  t.ok(await isOn(), 'run with other settings than the service')
  t.match(await run('migrate', '--no-changes'), {
    code: 0,
    output: /The change feed is off: its triggers were dropped/,
  })
  t.notOk(await isOn())
  t.notMatch((await run('migrate', '--no-changes')).output, /change feed/, 'nothing is left to do')
})

test('tail prints changes as they happen, from the given cursor', async (t) => {
  const { run, start, database } = await startCommandLine(t, {}, CHANGES)
  await run('migrate')
  const insert = (id: string) => database.query(`insert into users (id, sync_source) values ($1, 'x')`, [id])
  await insert('user_1')
  await waitUntil('it can be read', async () =>
    (await run('changes', 'tail', '--after', 'oldest', '--no-follow')).output.includes('user_1'),
  )
  const { output } = await run('changes', 'tail', '--after', 'oldest', '--no-follow')
  t.match(output, /^\S+Z {2}chg_1 {2}user\.created {2}user_1 {2}– {2}–\n$/)
  const following = start('changes', 'tail', '--json', '--after', 'oldest')
  await following.until(/user_1.*\n/)
  await insert('user_2')
  await following.until(/user_2.*\n/)
  following.child.kill('SIGINT')
  t.equal(await following.exit, 130)
  const [first, second] = following
    .stdout()
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  t.match([first, second], [{ entityId: 'user_1' }, { entityId: 'user_2', op: 'created', cause: null }])
  const after = await run('changes', 'tail', '--after', first.cursor, '--no-follow')
  t.match(after.output, /user_2/)
  t.notMatch(after.output, /user_1/)
  t.equal((await run('changes', 'tail', '--no-follow')).output, '')
  t.match(await run('changes', 'tail', '--after', 'nonsense'), { code: 2, output: /not a cursor/ })
  await database.query("insert into sync_state values ('changes pruned', $1)", [{ xid: String(2n ** 40n), seq: '1' }])
  t.match(await run('changes', 'tail', '--after', first.cursor, '--no-follow'), {
    code: 1,
    output: /Some changes after this cursor are no longer kept/,
  })
  t.notMatch((await run('changes', 'tail', '--after', 'oldest', '--no-follow')).output, /no longer kept/)
})

test('status shows consumers and dead letters, and retry sends them again', async (t) => {
  const { run, database } = await startCommandLine(t, {}, CHANGES)
  await run('migrate')
  t.match(await run('changes', 'status'), { code: 0, output: /No consumer/ })
  await database.query(
    `insert into change_consumers (name, xid, seq) values ('webhook', '1', 0), ('welcome-mail', '1', 0)`,
  )
  await database.query(LETTER)
  await database.query(`insert into users (id, sync_source) values ('user_1', 'x')`)
  const { json } = await run('changes', 'status', '--json')
  t.match(json, {
    consumers: [
      { name: 'webhook', behind: 1, waiting: 0, dead: 1 },
      { name: 'welcome-mail', dead: 1 },
    ],
    deadLetters: [{ id: 'chg_7', consumer: 'webhook', error: 'answered 500' }, { id: 'chg_8' }],
  })
  t.match(
    (await run('changes', 'status')).output,
    /webhook +1 +\d+ s +0 +1\n[\s\S]*chg_7 +user\.created +user_1 +8 attempts +answered 500/,
  )
  t.match(await run('replay', '--changes', '--list'), { code: 0, output: /Given up: 2 changes\./ })
  t.match(await run('doctor'), { output: /WARN +change feed +given up for webhook: 1 change: .*replay --changes/ })
  t.match(await run('changes', 'retry', '--id', 'chg_7', 'chg_9'), {
    code: 1,
    output: /chg_7\nThe running service will send 1 change again\.\nchg_9 was not given up/,
  })
  const pool = createPool({ connectionString: database.url, onError: () => undefined })
  t.teardown(() => pool.end())
  t.match(await findDeadLetters(pool), [{ id: 'chg_8' }])
  t.match(await run('replay', '--changes', '--json'), {
    code: 0,
    json: { revived: [{ consumer: 'welcome-mail', id: 'chg_8' }], unknown: [] },
  })
  t.match((await run('doctor')).output, /waiting for webhook: 1 change/)
})

test('a transaction that delays the feed is named, with its process and its age', async (t) => {
  const { run, database } = await startCommandLine(t, {}, CHANGES)
  await run('migrate')
  const client = await database.connect()
  t.teardown(() => client.release(true))
  await client.query("begin; insert into clerk.users (id, sync_source) values ('user_late', 'x')")
  const [{ pid } = { pid: 0 }] = (await client.query('select pg_backend_pid() as pid')).rows
  const { findChangesStatus } = await import('../../src/db/changes/status.ts')
  const pool = createPool({ connectionString: database.url, onError: () => undefined })
  t.teardown(() => pool.end())
  // The oldest of the whole server: other tests may hold older ones for a moment.
  await waitUntil('it is the oldest', async () => (await findChangesStatus(pool, 0)).delay?.pid === pid)
  const { delay } = await findChangesStatus(pool, 0)
  t.type(delay?.ageSeconds, 'number')
  const { describeDelay } = await import('../../src/domain/feed-delay.ts')
  t.match(describeDelay({ pid, prepared: null, ageSeconds: 3_605 }), {
    what: `a transaction of process ${pid}, open for 3605 s, delays the change feed`,
    remedy: new RegExp(`pg_terminate_backend\\(${pid}\\)`),
  })
  t.match(describeDelay({ pid: null, prepared: 'x', ageSeconds: null }), {
    what: "the prepared transaction 'x' delays the change feed",
    remedy: /rollback prepared 'x'/,
  })
  t.equal((await findChangesStatus(pool)).delay, null, 'a young one is not worth a word')
  await client.query('rollback')
})

test('the doctor says whether the feed is on, and whether its triggers record', async (t) => {
  const { run, env } = await startCommandLine(t, {}, { CHANGES_TOKEN: 'a-token-of-the-feed' })
  t.match((await run('doctor')).output, /WARN +change feed +off, although CHANGES_TOKEN or CHANGES_WEBHOOK_URL is set/)
  env.CHANGES = 'true'
  t.match((await run('migrate')).output, /The change feed is on: its triggers were created/)
  t.match((await run('doctor')).output, /pass +change feed +on, 0 consumers/)
  t.strictSame((await run('changes', 'status', '--json')).json.unrecorded, [])
  await run('migrate', '--no-changes')
  const missing = /changes are not recorded, .*: organization_invitations, .*, sessions, users: restart a replica/
  t.match(await run('doctor'), { code: 1, output: new RegExp(`FAIL +change feed +${missing.source}`) })
  t.match((await run('changes', 'status')).output, /changes are not recorded/)
})

test('tail prints more changes than a page, each once and in order; status counts up to 10,000', async (t) => {
  const { run, database } = await startCommandLine(t, {}, CHANGES)
  await run('migrate')
  await database.query("insert into change_consumers (name, xid, seq) values ('mail', '1', 0)")
  const add = (from: number, to: number) =>
    database.query(
      `insert into users (id, sync_source) select 'user_' || n, 'x' from generate_series(${from}, ${to}) n`,
    )
  const idsOf = (output: string) => [...output.matchAll(/ chg_(\d+) /g)].map(([, id]) => Number(id))
  const tail = async () => idsOf((await run('changes', 'tail', '--after', 'oldest', '--no-follow')).output)
  await add(1, 9_999)
  // Open transactions of other tests delay the feed for a moment.
  await waitUntil('all can be read', async () => (await tail()).length === 9_999)
  t.strictSame(
    await tail(),
    Array.from({ length: 9_999 }, (_, n) => n + 1),
  )
  t.match((await run('changes', 'status')).output, /^mail +9,999 /m)
  await add(10_000, 10_001)
  t.match((await run('changes', 'status')).output, /^mail +10,000 or more /m)
})
