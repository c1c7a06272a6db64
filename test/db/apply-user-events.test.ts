import { test } from 'tap'
import { statementTracing } from '../../src/db/channels.ts'
import type { Change } from '../../src/domain/change.ts'
import { createDatabase, type TestDatabase } from '../helpers/database.ts'
import { deletion, message, SECOND, session, snapshot, startRepository, T0 } from '../helpers/repository.ts'

const event = (id: string, user: ReturnType<typeof snapshot>): Change => ({ message: message(id), user })

test('events of users take one statement, anything else among them a transaction', async (t) => {
  const { apply } = await startRepository(t)
  const names: string[] = []
  const onStart = (told: unknown) => void names.push((told as { name: string }).name)
  statementTracing.start.subscribe(onStart)
  t.teardown(() => statementTracing.start.unsubscribe(onStart))
  const one = event('msg_1', snapshot('user_1', T0))
  t.strictSame(await apply(one, event('msg_2', snapshot('user_2', T0))), ['applied', 'applied'])
  t.strictSame(names, ['user_events_apply'])

  const others: Change[][] = [
    [{ user: snapshot('user_3', T0) }],
    [event('msg_3', snapshot('user_3', T0)), { message: message('msg_4') }],
    [{ message: message('msg_5'), user: deletion('user_4', T0) }],
    [{ ...event('msg_6', snapshot('user_5', T0)), session: session('sess_1', 'user_5', 'active', T0) }],
    [event('msg_7', snapshot('user_6', T0)), event('msg_7', snapshot('user_6', T0))],
    [
      event('msg_8', {
        ...snapshot('user_7', T0),
        corrects: { updatedAt: T0 + SECOND, eventAt: null },
      } as ReturnType<typeof snapshot>),
    ],
  ]
  for (const changes of others) {
    names.length = 0
    await apply(...changes)
    t.strictSame([names.includes('user_events_apply'), names.at(-1)], [false, 'commit'])
  }
})

test('one statement says and leaves behind what the transaction does', async (t) => {
  const before: Change[] = [
    { user: snapshot('user_old', T0, { username: 'old' }) },
    { user: snapshot('user_new', T0 + 9 * SECOND, { username: 'newer' }) },
    { user: snapshot('user_same', T0, { username: 'same' }) },
    { user: { kind: 'claims', id: 'user_claims', issuedAt: T0 + 9 * SECOND, profile: { username: 'claimed' } } },
    { user: deletion('user_gone', T0) },
  ]
  const odd = `"\\\n\t{}, NULL 'é😀`
  const batch: [string, Change][] = [
    ['stale', event('msg_a', snapshot('user_old', T0 + SECOND, { username: 'older' }))],
    ['applied', event('msg_b', snapshot('user_old', T0 + 2 * SECOND, { username: odd, publicMetadata: { odd } }))],
    ['applied', event('msg_c', snapshot('user_old', T0 + 2 * SECOND, { username: odd, publicMetadata: { odd } }))],
    ['stale', event('msg_d', snapshot('user_new', T0))],
    ['applied', event('msg_e', snapshot('user_same', T0, { username: 'same' }))],
    ['applied', event('msg_f', snapshot('user_claims', T0, { email: 'ada@example.com', banned: true }))],
    ['stale', event('msg_g', snapshot('user_gone', T0 + SECOND))],
    ['applied', event('msg_i', snapshot('user_born', T0 + SECOND))],
    ['stale', event('msg_h', snapshot('user_born', T0))],
  ]
  const tables = async (database: TestDatabase) => [
    await database.query(`select to_jsonb(u) - 'created_at' - 'updated_at' as row, updated_at = created_at as untouched
      from users u order by id`),
    await database.query(
      `select id, type, object_id, event_at, outcome, error, attempts, payload, processed_at - received_at as took,
        last_received_at - received_at as between from webhook_events where id <> 'msg_z' order by id`,
    ),
  ]
  const states = []
  for (const others of [[], [{ message: message('msg_z') }]] as Change[][]) {
    const { repository, database } = await startRepository(t, { storePayloads: true })
    await repository.apply(before)
    const results = await repository.apply([...batch.map(([, change]) => change), ...others])
    states.push({ results: results.slice(0, batch.length), tables: await tables(database) })
  }
  t.strictSame(states[0], states[1])
  t.strictSame(
    states[0]?.results,
    batch.map(([outcome, { message }]) => ({ outcome, created: message?.id === 'msg_i' })),
  )
  t.strictSame(
    states[0]?.tables[1]?.map(({ id, outcome }) => [id, outcome]),
    batch.map(([outcome, { message }]) => [message?.id as string, outcome]).sort(),
  )
})

test('messages that came before are duplicates among events of users, and one that failed is applied', async (t) => {
  const { apply, repository, database } = await startRepository(t)
  const old = event('msg_old', snapshot('user_old', T0, { username: 'old' }))
  t.strictSame(await apply(old), ['applied'])
  await database.query("update users set username = 'by hand'")
  const failed = event('msg_failed', snapshot('user_failed', T0))
  await repository.fail(message('msg_failed'), 'before')
  t.strictSame(await apply(old, failed, event('msg_new', snapshot('user_new', T0))), [
    'duplicate',
    'applied',
    'applied',
  ])
  t.match(await database.query('select id, username from users order by id'), [
    { id: 'user_failed' },
    { id: 'user_new' },
    { id: 'user_old', username: 'by hand' },
  ])
  t.match(await database.query('select id, outcome, error, attempts from webhook_events order by id'), [
    { id: 'msg_failed', outcome: 'applied', error: null, attempts: 2 },
    { id: 'msg_new', outcome: 'applied', attempts: 1 },
    { id: 'msg_old', outcome: 'applied', attempts: 2 },
  ])
})

test('one event that PostgreSQL refuses fails alone', async (t) => {
  const { apply, database } = await startRepository(t)
  await database.query('alter table users add constraint no_x check (username <> $$x$$)')
  const events = ['a', 'x', 'b'].map((name) => event(`msg_${name}`, snapshot(`user_${name}`, T0, { username: name })))
  t.match(await apply(...events), ['applied', { code: '23514' }, 'applied'])
  t.match(await database.query('select id, outcome from webhook_events order by id'), [
    { id: 'msg_a', outcome: 'applied' },
    { id: 'msg_b', outcome: 'applied' },
    { id: 'msg_x', outcome: 'failed' },
  ])
})

test('a statement that fails as it commits has applied nothing', async (t) => {
  const { apply, database } = await startRepository(t)
  await database.query(`create function late() returns trigger language plpgsql as
    $$ begin raise 'too late' using errcode = '57014'; end $$`)
  await database.query(`create constraint trigger late after insert on webhook_events
    deferrable initially deferred for each row execute function late()`)
  const change = event('msg_1', snapshot('user_1', T0))
  await t.rejects(apply(change), { code: 'DATABASE_UNAVAILABLE', cause: { code: '57014' } })
  for (const table of ['webhook_events', 'users']) t.strictSame(await database.query(`select * from ${table}`), [])
  await database.query('drop trigger late on webhook_events')
  t.strictSame(await apply(change), ['applied'])
})

test('events whose answer is lost are told as trouble, and the redelivery as a duplicate', async (t) => {
  const { apply, database, pool } = await startRepository(t)
  pool.once('connect', (client) => {
    const query = client.query.bind(client) as (...args: unknown[]) => Promise<unknown>
    client.query = (async (...args: unknown[]) => {
      await query(...args)
      await database.query(
        'select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()',
      )
      return query(...args)
    }) as never
  })
  const change = event('msg_1', snapshot('user_1', T0))
  await t.rejects(apply(change), { code: 'DATABASE_UNAVAILABLE' })
  t.strictSame(await apply(change), ['duplicate'])
  t.match(await database.query('select outcome, attempts from webhook_events'), [{ outcome: 'applied', attempts: 2 }])
})

test('a message in one statement and in a transaction at the same moment is applied once, without a deadlock', async (t) => {
  const database = await createDatabase(t)
  const replicas = [await startRepository(t, { database }), await startRepository(t, { database })]
  const rounds = 150
  const applied: number[] = []
  for (let round = 0; round < rounds; round += 1) {
    const events = ['a', 'b', 'c'].map((name) => event(`msg_${round}_${name}`, snapshot(`user_${name}`, T0 + round)))
    const outcomes = await Promise.all([
      replicas[0]?.apply(...events),
      replicas[1]?.apply(...[...events].reverse(), { message: message(`msg_${round}`) }),
      replicas[1]?.apply(events[1] as Change),
    ])
    applied.push(outcomes.flat().filter((outcome) => outcome === 'applied').length)
  }
  t.strictSame(applied, Array(rounds).fill(3))
  // Locks in different orders would meet as deadlocks here, each of them a second.
  t.strictSame(
    replicas.map(({ repository }) => repository.counts.conflictRetries),
    [0, 0],
  )
  t.match(
    await database.query(
      'select count(*)::int as messages, min(attempts) as least, max(attempts) as most from webhook_events where id like $$msg_%_b$$',
    ),
    [{ messages: rounds, least: 3, most: 3 }],
  )
})

for (const isolation of ['repeatable read', 'serializable']) {
  test(`events of one user that meet are applied where a database's own isolation is ${isolation}`, async (t) => {
    const database = await createDatabase(t)
    const connectionString = `${database.url}?options=-c%20default_transaction_isolation=${isolation.replace(' ', '%5C%20')}`
    const options = { database, connectionString }
    const replicas = [await startRepository(t, options), await startRepository(t, options)] as const
    const rounds = 60
    for (let round = 0; round < rounds; round += 1) {
      const outcomes = await Promise.all(
        replicas.map(({ apply }, i) =>
          apply(event(`msg_${round}_${i}`, snapshot('user_a', T0 + 2 * round + i, { username: `${round} ${i}` }))),
        ),
      )
      t.match(outcomes, [[/applied|stale/], ['applied']])
      t.match(await database.query('select username from users'), [{ username: `${round} 1` }])
    }
    t.ok(
      replicas.some(({ repository }) => repository.counts.conflictRetries > 0),
      'they did meet',
    )
    t.match(await database.query("select count(*)::int from webhook_events where outcome <> 'failed'"), [
      { count: 2 * rounds },
    ])
  })
}
