import { test } from 'tap'
import type { Change } from '../../src/domain/change.ts'
import {
  claims,
  deletion,
  message,
  SECOND,
  session,
  snapshot,
  startRepository,
  T0,
  type TestRepository,
} from '../helpers/repository.ts'
import { waitUntil } from '../helpers/wait-until.ts'

const POISON = 'poison'

/** From now on PostgreSQL refuses users of this name, as an application's constraint may. */
const poison = ({ database }: TestRepository) =>
  database.query(`alter table users add constraint no_poison check (first_name <> '${POISON}')`)

const ledger = ({ database }: TestRepository) =>
  database.query(
    'select id, outcome, error, attempts, payload, processed_at is not null as processed from webhook_events order by id',
  )

const named = (id: string, firstName: string): Change => ({
  message: message(`msg_${id}`),
  user: snapshot(`user_${id}`, T0, { firstName }),
})

test('an empty batch has no results', async (t) => {
  const { apply } = await startRepository(t)
  t.strictSame(await apply(), [])
})

test('the results of a batch are in the order of its changes', async (t) => {
  const { apply, database } = await startRepository(t)
  t.strictSame(
    await apply(
      { message: message('msg_9'), user: snapshot('user_2', T0 + 1, { firstName: 'New' }) },
      { message: message('msg_8', { type: 'email.created' }) },
      { message: message('msg_7'), user: snapshot('user_2', T0, { firstName: 'Old' }) },
      { user: snapshot('user_1', T0, { firstName: 'Ada', eventAt: null }) },
      { message: message('msg_9'), user: snapshot('user_2', T0 + 1, { firstName: 'New' }) },
      { message: message('msg_6'), session: session('sess_1', 'user_3', 'active', T0) },
    ),
    ['applied', 'ignored', 'stale', 'applied', 'duplicate', 'applied'],
  )
  t.strictSame(await database.query('select id, first_name from users order by id'), [
    { id: 'user_1', first_name: 'Ada' },
    { id: 'user_2', first_name: 'New' },
  ])
})

test('a change equal to the written one counts as applied', async (t) => {
  const { apply } = await startRepository(t)
  t.strictSame(
    await apply(
      { message: message('msg_1'), user: snapshot('user_1', T0) },
      { message: message('msg_2'), user: snapshot('user_1', T0) },
      { message: message('msg_3'), user: snapshot('user_1', T0, { eventAt: T0 - 1 }) },
      { message: message('msg_4'), user: snapshot('user_2', T0) },
    ),
    ['applied', 'applied', 'stale', 'applied'],
  )
  t.strictSame(
    await apply(
      { message: message('msg_5'), user: snapshot('user_1', T0 - 5) },
      { message: message('msg_6'), user: snapshot('user_1', T0 - 5) },
    ),
    ['stale', 'stale'],
  )
})

test('a deletion in a batch wins over every snapshot of it, whatever their order and dates', async (t) => {
  const { apply, database } = await startRepository(t)
  t.strictSame(
    await apply(
      { user: snapshot('user_1', T0 + 9, { email: 'a@b.c' }) },
      { user: deletion('user_1', T0) },
      { user: snapshot('user_1', T0 + 8, { email: 'a@b.c' }) },
      { user: claims('user_1', T0 + SECOND, { email: 'a@b.c' }) },
      { user: deletion('user_2', T0) },
      { user: snapshot('user_2', T0, { email: 'a@b.c' }) },
    ),
    ['stale', 'applied', 'stale', 'stale', 'applied', 'stale'],
  )
  t.strictSame(await database.query('select email, deleted_at is null as lives from users'), [
    { email: null, lives: false },
    { email: null, lives: false },
  ])
})

test('claims in a batch follow the snapshots, the oldest first', async (t) => {
  const { apply, database } = await startRepository(t)
  t.strictSame(
    await apply(
      { user: claims('user_1', T0 + 3 * SECOND, { firstName: 'Newest' }) },
      { user: claims('user_1', T0 + 2 * SECOND, { firstName: 'Newer', lastName: 'Newer' }) },
      { user: claims('user_1', T0, { firstName: 'Old' }) },
      { user: snapshot('user_1', T0 + SECOND, { firstName: 'Ada', username: 'ada' }) },
      { user: claims('user_2', T0, { firstName: 'Grace' }) },
    ),
    ['applied', 'applied', 'stale', 'applied', 'applied'],
  )
  t.strictSame(await database.query('select first_name, last_name, username from users order by id'), [
    { first_name: 'Newest', last_name: 'Newer', username: 'ada' },
    { first_name: 'Grace', last_name: null, username: null },
  ])
})

test('one change created the row, in a batch and between replicas', async (t) => {
  const one = await startRepository(t)
  const two = await startRepository(t, { database: one.database })
  const results = await one.repository.apply([
    { user: claims('user_1', T0 + SECOND, {}) },
    { user: snapshot('user_1', T0) },
    { user: snapshot('user_1', T0 - 1) },
    { message: message('msg_1') },
  ])
  t.strictSame(
    results.map((result) => 'created' in result && result.created),
    [false, true, false, false],
  )
  for (let i = 0; i < 20; i += 1) {
    const changes: Change[] = [
      { user: claims(`user_r${i}`, T0, {}) },
      { user: snapshot(`user_r${i}`, T0, { eventAt: null }) },
    ]
    const raced = await Promise.all(
      [one, two].flatMap(({ repository }) => changes.map((change) => repository.apply([change]))),
    )
    t.equal(raced.flat().filter((result) => 'created' in result && result.created).length, 1)
  }
})

test('of changes that share one snapshot, the first created the row', async (t) => {
  const { repository } = await startRepository(t)
  const user = snapshot('user_1', T0, { eventAt: null })
  const change = { user }
  const results = await repository.apply([change, { user }, change])
  t.strictSame(
    results,
    [true, false, false].map((created) => ({ outcome: 'applied', created })),
  )
})

test('a message is applied once, even by two replicas at the same time', async (t) => {
  const one = await startRepository(t)
  const two = await startRepository(t, { database: one.database })
  for (let i = 0; i < 30; i += 1) {
    const change = named(`${i}`, 'Ada')
    const outcomes = await Promise.all([
      one.apply(change),
      two.apply({ ...change }),
      one.apply(named(`x${i}`, 'Other'), { ...change }),
    ])
    t.strictSame(outcomes.map((all) => all.at(-1)).sort(), ['applied', 'duplicate', 'duplicate'])
  }
  t.strictSame(
    await one.database.query("select count(*)::int, min(attempts) from webhook_events where id not like '%x%'"),
    [{ count: 30, min: 3 }],
  )
})

test('a stale or duplicate delivery writes nothing to users', async (t) => {
  const { apply, database } = await startRepository(t)
  await apply({ message: message('msg_1'), user: snapshot('user_1', T0, { firstName: 'Ada' }) })
  const row = () => database.query('select *, xmin::text, ctid::text from users')
  const before = await row()
  t.strictSame(
    await apply({ message: message('msg_1'), user: snapshot('user_1', T0 + 9, { firstName: 'Not read' }) }),
    ['duplicate'],
  )
  t.strictSame(await apply({ message: message('msg_2'), user: snapshot('user_1', T0 - 1) }), ['stale'])
  t.strictSame(await apply({ message: message('msg_3'), user: snapshot('user_1', T0, { eventAt: null }) }), ['stale'])
  t.strictSame(await row(), before)
})

test('a change that PostgreSQL refuses fails alone', async (t) => {
  const it = await startRepository(t)
  await poison(it)
  const batch = [
    named('1', 'Ada'),
    named('2', POISON),
    { message: message('msg_3'), session: session('sess_1', 'user_1', 'active', T0) },
    named('4', 'Grace'),
    { user: snapshot('user_5', T0, { firstName: POISON, eventAt: null }) },
    named('6', 'Edsger'),
    named('6', 'Edsger'),
  ]
  const outcomes = await it.apply(...batch)
  t.match(outcomes, ['applied', { code: '23514' }, 'applied', 'applied', { code: '23514' }, 'applied', 'duplicate'])
  t.strictSame(await it.database.query('select id from users order by id'), [
    { id: 'user_1' },
    { id: 'user_4' },
    { id: 'user_6' },
  ])
  const error = '23514: new row for relation "users" violates check constraint "no_poison"'
  const applied = { outcome: 'applied', error: null, attempts: 1, payload: null, processed: true }
  t.strictSame(await ledger(it), [
    { id: 'msg_1', ...applied },
    { id: 'msg_2', outcome: 'failed', error, attempts: 1, payload: '{"message":"msg_2"}', processed: false },
    { id: 'msg_3', ...applied },
    { id: 'msg_4', ...applied },
    { id: 'msg_6', ...applied, attempts: 2 },
  ])
})

test('a failed message is applied again with every delivery', async (t) => {
  const it = await startRepository(t)
  await poison(it)
  t.match(await it.applyInTurn(named('1', POISON), named('1', POISON)), [{ code: '23514' }, { code: '23514' }])
  t.match(await ledger(it), [{ outcome: 'failed', attempts: 2 }])
  await it.database.query('alter table users drop constraint no_poison')
  t.strictSame(await it.applyInTurn(named('1', POISON), named('1', POISON)), ['applied', 'duplicate'])
  t.match(await ledger(it), [{ outcome: 'applied', attempts: 4, error: null, payload: null, processed: true }])
})

test('a batch of only bad changes is refused change by change', async (t) => {
  const it = await startRepository(t)
  await poison(it)
  const batch = Array.from({ length: 9 }, (_, i) => named(`${i}`, POISON))
  t.match(
    await it.apply(...batch),
    batch.map(() => ({ code: '23514' })),
  )
  t.match(
    await ledger(it),
    batch.map(() => ({ outcome: 'failed', attempts: 1 })),
  )
})

test('every method rejects with DatabaseUnavailable if the database has a problem', async (t) => {
  const { repository, pool } = await startRepository(t, { max: 1 })
  await pool.end()
  const unavailable = { code: 'DATABASE_UNAVAILABLE', statusCode: 503, retryAfterSeconds: 2, cause: Error }
  await t.rejects(repository.apply([named('1', 'Ada')]), unavailable)
  await t.rejects(repository.fail(message('msg_1'), 'why'), unavailable)
  await t.rejects(repository.findAuthState({ userId: 'user_1', sessionId: null }), unavailable)
  await t.rejects(repository.ledgerSummary(), unavailable)
  await t.rejects(repository.prune(30), unavailable)
})

test('a read-only, slow or restarting database is unavailable, and nothing of the change is stored', async (t) => {
  const { database } = await startRepository(t)
  const change = named('1', 'Ada')
  const readOnly = await startRepository(t, {
    database,
    connectionString: `${database.url}?options=-c%20default_transaction_read_only=on`,
  })
  await t.rejects(readOnly.apply(change), { code: 'DATABASE_UNAVAILABLE', cause: { code: '25006' } })

  const lock = await database.connect()
  await lock.query('begin; lock table users')
  const impatient = await startRepository(t, { database, statementTimeoutMs: 50 })
  await t.rejects(impatient.apply(change), { code: 'DATABASE_UNAVAILABLE', cause: { code: '57014' } })

  const waiting = (await startRepository(t, { database, applicationName: 'waiting' })).apply(change)
  const rejected = t.rejects(waiting, { code: 'DATABASE_UNAVAILABLE' })
  await waitUntil('the wait for the table', async () => {
    const ended = await database.query(`select pg_terminate_backend(pid) from pg_stat_activity
      where application_name = 'waiting' and wait_event_type = 'Lock'`)
    return ended.length > 0
  })
  await rejected
  await lock.query('rollback')
  lock.release()
  t.strictSame(await database.query('select 1 from users union all select 1 from webhook_events'), [])
})

test('a database that is not migrated is a 503; an error that is not from the database is unchanged', async (t) => {
  const { repository, database } = await startRepository(t)
  await database.query('alter table users rename to renamed')
  await t.rejects(repository.findAuthState({ userId: 'user_1', sessionId: null }), { code: 'DATABASE_UNAVAILABLE' })
  await database.query('alter table renamed rename to users')
  await database.query('alter table users rename column email to mail')
  await t.rejects(repository.findAuthState({ userId: 'user_1', sessionId: null }), { code: '42703' })
  await t.rejects(repository.apply([{ user: { kind: 'claims' } as never }]), TypeError)
})

test('the state of a request: its user and its session', async (t) => {
  const { repository, apply } = await startRepository(t)
  await apply({
    user: snapshot('user_1', T0, { firstName: 'Ada' }),
    session: session('sess_1', 'user_1', 'revoked', T0),
  })
  t.match(await repository.findAuthState({ userId: 'user_1', sessionId: 'sess_1' }), {
    user: { firstName: 'Ada' },
    sessionStatus: 'revoked',
  })
  t.match(await repository.findAuthState({ userId: 'user_1', sessionId: 'sess_2' }), {
    user: { firstName: 'Ada' },
    sessionStatus: undefined,
  })
  t.match(await repository.findAuthState({ userId: 'user_2', sessionId: null }), { user: undefined, isDeleted: false })
})
