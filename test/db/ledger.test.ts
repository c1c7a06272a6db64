import pg from 'pg'
import tap, { type Test, test } from 'tap'
import { pruneMessages } from '../../src/db/ledger.ts'
import type { Executor } from '../../src/db/statement.ts'
import type { TestDatabase } from '../helpers/database.ts'
import { at, message, snapshot, startRepository, T0, type TestRepositoryOptions } from '../helpers/repository.ts'
import { waitUntil } from '../helpers/wait-until.ts'

tap.setTimeout(900_000)

async function start(t: Test, options?: TestRepositoryOptions) {
  const it = await startRepository(t, options)
  const row = async (id = 'msg_1') => {
    const [found] = await it.database.query('select * from webhook_events where id = $1', [id])
    return found
  }
  // As if all that is there had come a day ago.
  const setBack = () =>
    it.database.query(`update webhook_events set received_at = received_at - interval '1 day',
      last_received_at = last_received_at - interval '1 day', processed_at = processed_at - interval '1 day'`)
  return { ...it, row, setBack }
}

/** Old messages by the thousand: one a second, the newest `newestDays` days old. */
async function fill(database: TestDatabase, count: number, newestDays: number): Promise<void> {
  await database.query(
    `insert into webhook_events (id, type, outcome, received_at)
     select format('old_%s_%s', $2::int, n), 'user.updated', 'applied', now() - make_interval(days => $2::int, secs => n)
     from generate_series(1, $1) n`,
    [count, newestDays],
  )
}

test('the ledger has the times at which an event happened, was received and was processed', async (t) => {
  const { apply, row } = await start(t)
  await apply({ message: message('msg_1', { eventAt: T0 + 7 }), user: snapshot('user_1', T0) })
  const told = await row()
  t.match(told, {
    type: 'user.updated',
    object_id: 'user_1',
    outcome: 'applied',
    error: null,
    attempts: 1,
    event_at: at(T0 + 7),
  })
  t.ok(Math.abs(told?.received_at - Date.now()) < 60_000)
  t.strictSame([told?.last_received_at, told?.processed_at], [told?.received_at, told?.received_at])
  await apply({ message: message('msg_2', { type: 'email.created', objectId: null, eventAt: null }) })
  t.match(await row('msg_2'), {
    type: 'email.created',
    object_id: null,
    event_at: null,
    outcome: 'ignored',
    processed_at: Date,
  })
})

test('a duplicate only counts one more attempt and updates its time', async (t) => {
  const { apply, row, setBack } = await start(t)
  await apply({ message: message('msg_1'), user: snapshot('user_1', T0) })
  await setBack()
  const before = await row()
  await apply(
    { message: message('msg_1', { type: 'x', eventAt: null }), user: snapshot('user_1', T0) },
    { message: message('msg_1') },
  )
  const after = await row()
  t.ok(after?.last_received_at > before?.last_received_at)
  t.strictSame({ ...after, last_received_at: 0 }, { ...before, attempts: 3, last_received_at: 0 })
})

test('a failed message is stored with its payload and reason, and counted', async (t) => {
  const { repository, row, setBack } = await start(t)
  await repository.fail(message('msg_1', { payload: '{"a":1}' }), 'why')
  t.match(await row(), { outcome: 'failed', error: 'why', payload: '{"a":1}', attempts: 1, processed_at: null })
  await setBack()
  const before = await row()
  await repository.fail(message('msg_1', { payload: '{"a":2}' }), 'why not')
  const after = await row()
  t.match(after, {
    outcome: 'failed',
    error: 'why not',
    payload: '{"a":2}',
    attempts: 2,
    received_at: at(before?.received_at),
  })
  t.ok(after?.last_received_at > before?.last_received_at)
})

test('an applied message stays applied if a later delivery fails', async (t) => {
  const { apply, repository, row } = await start(t)
  await apply({ message: message('msg_1'), user: snapshot('user_1', T0) })
  await repository.fail(message('msg_1'), 'why')
  t.match(await row(), { outcome: 'applied', error: null, payload: null, attempts: 2 })
})

test('a failed message that is applied loses its payload and its error', async (t) => {
  const { apply, repository, row } = await start(t)
  for (const [id, change] of Object.entries({
    applied: { user: snapshot('user_1', T0) },
    stale: { user: snapshot('user_1', T0 - 1) },
    ignored: {},
  })) {
    await repository.fail(message(id, { type: 'unknown', objectId: null, eventAt: 0 }), 'why')
    t.strictSame(await apply({ message: message(id, { type: 'user.created', eventAt: T0 }), ...change }), [id])
    const told = { type: 'user.created', object_id: 'user_1', event_at: at(T0), error: null, payload: null }
    t.match(await row(id), { ...told, outcome: id, attempts: 2, processed_at: Date })
  }
})

test('payloads of applied events are kept only with the setting, those of ignored and stale ones never', async (t) => {
  const { apply, row, database } = await start(t)
  await apply(
    { message: message('msg_1'), user: snapshot('user_1', T0) },
    { message: message('msg_2'), user: snapshot('user_1', T0 - 1) },
  )
  t.match([await row('msg_1'), await row('msg_2')], [{ payload: null }, { outcome: 'stale', payload: null }])
  const keeper = await startRepository(t, { database, storePayloads: true })
  await keeper.apply(
    { message: message('msg_3'), user: snapshot('user_2', T0) },
    { message: message('msg_4'), user: snapshot('user_2', T0 - 1) },
  )
  t.match(
    [await row('msg_3'), await row('msg_4')],
    [
      { outcome: 'applied', payload: '{"message":"msg_3"}' },
      { outcome: 'stale', payload: null },
    ],
  )
})

const NOTHING_ELSE = { foreign: 0, foreignInstanceId: null, lostToday: 0, isReadOnly: false }

test('the summary: the newest message, and how many wait as failed', async (t) => {
  const { apply, repository, row } = await start(t)
  t.strictSame(await repository.ledgerSummary(), { lastReceivedAt: null, failed: 0, ...NOTHING_ELSE })
  await repository.fail(message('msg_1'), 'why')
  await apply({ message: message('msg_2') })
  await apply({ message: { ...message('msg_3'), type: 'clerk-session-sync.test' } })
  const receivedAt = (await row('msg_2'))?.received_at as Date
  t.equal((await repository.tableStatistics()).lastReceivedAt, +receivedAt / 1000, 'a test delivery does not count')
  t.strictSame(await repository.ledgerSummary(), {
    lastReceivedAt: receivedAt,
    failed: 1,
    ...NOTHING_ELSE,
  })
})

test('pruning deletes what is older than its days, in small batches, and nothing else', async (t) => {
  const { database, repository } = await start(t)
  await fill(database, 2_500, 31)
  await fill(database, 10, 29)
  t.equal(await repository.prune(30), 2_500)
  t.equal(await repository.prune(30), 0)
  t.match(await database.query('select count(*)::int from webhook_events'), [{ count: 10 }])
})

test('one replica prunes at a time, separately for each schema', async (t) => {
  const { database, repository } = await start(t)
  await fill(database, 10, 31)
  const other = new pg.Client({ connectionString: database.url })
  await other.connect()
  t.teardown(() => other.end())
  const lock = (schema: string) => `(${0x7072756e}, hashtext('${schema}'))`
  await other.query(`select pg_advisory_lock${lock('clerk')}`)
  t.equal(await repository.prune(30), 0, 'another replica is at it')
  await other.query(`select pg_advisory_unlock${lock('clerk')}, pg_advisory_lock${lock('elsewhere')}`)
  t.equal(await repository.prune(30), 10)
  await fill(database, 10, 31)
  t.equal(await repository.prune(30), 10, 'the lock was given back')
})

test('a pruning that fails releases its lock', async (t) => {
  const { database, repository, pool } = await start(t, { statementTimeoutMs: 200 })
  await fill(database, 10, 31)
  await database.query(
    'create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep(1); return old; end $$',
  )
  await database.query('create trigger slow before delete on webhook_events for each row execute function slow()')
  await t.rejects(repository.prune(30), { code: 'DATABASE_UNAVAILABLE', cause: { code: '57014' } })
  t.equal(pool.counts.total, 0, 'the connection was closed')
  await database.query('drop trigger slow on webhook_events')
  // PostgreSQL says that it failed a moment before it lets go of the lock.
  await waitUntil('the lock being free', async () => (await repository.prune(30)) === 10)
})

test('pruning skips messages that are being received', async (t) => {
  const { apply, database, repository } = await start(t)
  await fill(database, 3, 31)
  const intake = new pg.Client({ connectionString: database.url })
  await intake.connect()
  t.teardown(() => intake.end())
  await intake.query("begin; select 1 from clerk.webhook_events where id = 'old_31_2' for update")
  t.equal(await repository.prune(30), 2, 'a locked one is skipped, not waited for')
  await intake.query('rollback')

  // And the other way round: a batch that is being deleted keeps no delivery waiting.
  await database.query(
    'create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep(1); return old; end $$',
  )
  await database.query('create trigger slow before delete on webhook_events for each row execute function slow()')
  const pruned = repository.prune(30)
  let isOver = false
  const settled = pruned.then(() => {
    isOver = true
  })
  t.strictSame(await apply({ message: message('msg_1'), user: snapshot('user_1', T0) }), ['applied'])
  t.notOk(isOver)
  await settled
  t.equal(await pruned, 1)
})

test('pruning a large ledger reads only its batch, by the index', async (t) => {
  const { database } = await start(t)
  await fill(database, 300_000, 10)
  await fill(database, 5_000, 31)
  await database.query('vacuum analyze webhook_events')
  let statement = ''
  const spy: Executor = {
    schema: 'clerk',
    async query({ text, values }) {
      statement = text.replace('$1', String(values[0]))
      return { rows: [] }
    },
  }
  await pruneMessages(spy, 30)
  const [row] = await database.query(`explain (analyze, format json) ${statement}`)
  const nodes = planNodes(row?.['QUERY PLAN'][0].Plan)
  const scanOf = (index: string) => nodes.filter((node) => node['Index Name'] === index)
  t.match(scanOf('webhook_events_received_at_idx'), [{ 'Node Type': /^Index/, 'Actual Rows': 1000 }])
  t.match(scanOf('webhook_events_pkey'), [{ 'Node Type': /^Index/, 'Actual Loops': 1000 }], 'and the rows by their ids')
  t.notOk(nodes.some((node) => node['Node Type'] === 'Seq Scan'))
})

interface PlanNode {
  'Node Type': string
  'Index Name'?: string
  Plans?: PlanNode[]
}

const planNodes = (node: PlanNode): PlanNode[] => [node, ...(node.Plans ?? []).flatMap(planNodes)]
