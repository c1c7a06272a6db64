import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { type Test, test } from 'tap'
import { inOrder } from '../../src/db/transaction.ts'
import type { Change } from '../../src/domain/change.ts'
import { createDatabase, type TestDatabase } from '../helpers/database.ts'
import { deletion, message, session, snapshot, startRepository, T0 } from '../helpers/repository.ts'
import { waitUntil } from '../helpers/wait-until.ts'

/** Makes every write of a user run this PL/pgSQL first. */
async function onUserWrite(database: TestDatabase, body: string): Promise<void> {
  await database.query(
    `create function on_write() returns trigger language plpgsql as $$ begin ${body} return new; end $$`,
  )
  await database.query(
    'create trigger on_write before insert or update on users for each row execute function on_write()',
  )
}

async function connect(t: Test, { url }: TestDatabase): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  t.teardown(() => client.end())
  return client
}

const waiting = (database: TestDatabase, event: string) => async () => {
  const rows = await database.query(
    "select 1 from pg_stat_activity where datname = current_database() and wait_event_type = $1 and state = 'active'",
    [event],
  )
  return rows.length > 0
}

test('conflicts are tried again, and counted', async (t) => {
  const { apply, database, repository } = await startRepository(t)
  await database.query('create sequence attempts')
  await onUserWrite(database, "if nextval('attempts') <= 3 then raise 'no luck' using errcode = '40001'; end if;")
  t.strictSame(await apply({ message: message('msg_1'), user: snapshot('user_1', T0) }), ['applied'])
  t.equal(repository.counts.conflictRetries, 3)
  t.match(await database.query('select outcome, attempts from webhook_events'), [{ outcome: 'applied', attempts: 1 }])
})

test('conflicts without end are given up after four attempts, as trouble of the database', async (t) => {
  const { apply, database, repository } = await startRepository(t)
  await database.query('create sequence attempts')
  await onUserWrite(database, "perform nextval('attempts'); raise 'no luck' using errcode = '40P01';")
  const batch = [{ message: message('msg_1'), user: snapshot('user_1', T0) }, { user: snapshot('user_2', T0) }]
  await t.rejects(apply(...batch), { code: 'DATABASE_UNAVAILABLE', cause: { code: '40P01' } })
  t.equal(repository.counts.conflictRetries, 3)
  t.match(await database.query('select last_value::int from attempts'), [{ last_value: 4 }])
  t.strictSame(await database.query('select * from webhook_events'), [], 'nothing of it stays')
})

test("a real deadlock with an application's transaction is survived", async (t) => {
  const { apply, database, repository } = await startRepository(t)
  await apply({ user: snapshot('user_1', T0) }, { user: snapshot('user_2', T0) })
  const application = await connect(t, database)
  // Only our side looks for the deadlock.
  await application.query("set deadlock_timeout = '1min'")
  await application.query("begin; select 1 from users where id = 'user_2' for update")
  const applied = apply({ user: snapshot('user_1', T0 + 1) }, { user: snapshot('user_2', T0 + 1) })
  await waitUntil('the wait for user_2', waiting(database, 'Lock'))
  await application.query("update users set banned = true where id = 'user_1'")
  await application.query('commit')
  t.strictSame(await applied, ['applied', 'applied'])
  t.equal(repository.counts.conflictRetries, 1)
})

test('after a refused change the connection serves on; one that broke is replaced', async (t) => {
  const { apply, database, pool } = await startRepository(t, { max: 1 })
  const backend = async () => (await pool.query<{ pid: number }>('select pg_backend_pid() as pid')).rows[0]?.pid
  await onUserWrite(
    database,
    `if new.username = 'refused' then raise 'refused'; end if;
     if new.username = 'broken' then perform 1 / (case when pg_terminate_backend(pg_backend_pid()) then 0 else 1 end); end if;`,
  )
  const first = await backend()
  t.match(await apply({ user: snapshot('user_1', T0, { username: 'refused' }) }), [{ code: 'P0001' }])
  t.equal(await backend(), first)
  // The rollback finds the connection gone.
  t.match(await apply({ user: snapshot('user_1', T0, { username: 'broken' }) }), [{ code: '22012' }])
  t.not(await backend(), first)
  t.strictSame(await apply({ user: snapshot('user_1', T0, { username: 'fine' }) }), ['applied'])
})

test('a deletion waits for a session event without a user, and ends its session', async (t) => {
  const { apply, database } = await startRepository(t)
  await database.query(
    `create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep(0.3); return new; end $$`,
  )
  await database.query('create trigger slow before insert on sessions for each row execute function slow()')
  const created = apply({ session: session('sess_1', 'user_1', 'active', T0) })
  await waitUntil('the session event in the middle', waiting(database, 'Timeout'))
  t.strictSame(await apply({ user: deletion('user_1', T0) }), ['applied'])
  t.strictSame(await created, ['applied'])
  t.match(await database.query('select status from sessions'), [{ status: 'ended' }])
})

test('a session event without a user waits for a deletion, and is stored as ended', async (t) => {
  const database = await createDatabase(t)
  // The default isolation of the database is not ours to count on.
  const connectionString = `${database.url}?options=-c%20default_transaction_isolation=repeatable%5C%20read`
  const { apply } = await startRepository(t, { database, connectionString })
  await onUserWrite(database, 'perform pg_sleep(0.3);')
  const deleted = apply({ user: deletion('user_1', T0) })
  await waitUntil('the deletion in the middle', waiting(database, 'Timeout'))
  t.strictSame(await apply({ session: session('sess_1', 'user_1', 'active', T0) }), ['applied'])
  t.strictSame(await deleted, ['applied'])
  t.match(await database.query('select status from sessions'), [{ status: 'ended' }])
})

test('a message is never entered without its change, even when the begin fails alone', async (t) => {
  const { apply, database, pool } = await startRepository(t)
  const change = {
    message: message('msg_1'),
    user: snapshot('user_1', T0),
    session: session('s', 'user_1', 'active', T0),
  }
  let begins = 0
  pool.on('connect', (client) => {
    const query = client.query.bind(client) as (...args: unknown[]) => unknown
    // As if it was cancelled by a time limit while the process was frozen; what was sent behind it goes on.
    const failing = "do $$ begin raise 'cancelled' using errcode = '57014'; end $$"
    const isBegin = (text: unknown) => typeof text === 'string' && text.startsWith('begin') && begins++ === 0
    client.query = ((...args: unknown[]) => (isBegin(args[0]) ? query(failing) : query(...args))) as never
  })
  await t.rejects(apply(change), { code: 'DATABASE_UNAVAILABLE', cause: { code: '57014' } })
  for (const table of ['webhook_events', 'users', 'sessions']) {
    t.strictSame(await database.query(`select * from ${table}`), [], `nothing in ${table}`)
  }
  t.strictSame(await apply(change), ['applied'], 'the redelivery is no duplicate')
  t.match(await database.query('select outcome, attempts from webhook_events'), [{ outcome: 'applied', attempts: 1 }])
})

test('statements that were sent at once do not have to share the time of one', async (t) => {
  const { apply, database, pool } = await startRepository(t, { queryTimeoutMs: 2_000 })
  await pool.query('select 1')
  await database.query(
    `create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep(0.75); return new; end $$`,
  )
  for (const table of ['webhook_events', 'users', 'sessions']) {
    await database.query(`create trigger slow before insert on ${table} for each row execute function slow()`)
  }
  const change = { user: snapshot('user_1', T0), session: session('sess_1', 'user_1', 'active', T0) }
  t.strictSame(await apply({ message: message('msg_1'), ...change }), ['applied'])
})

/** Has `before` run as the next statement of this text is sent for the first time, on whatever connection. */
function beforeFirst(pool: pg.Pool, text: string, before: (query: pg.PoolClient['query']) => unknown): void {
  let isFirst = true
  pool.on('connect', (client) => {
    const query = client.query.bind(client)
    client.query = ((...args: [string]) => {
      if (args[0] !== text || !isFirst) return query(...args)
      isFirst = false
      const done = before(query)
      return done instanceof Promise ? done.then(() => query(...args)) : query(...args)
    }) as never
  })
}

test('a commit that PostgreSQL answers with a rollback is none', async (t) => {
  const { apply, database, pool } = await startRepository(t)
  const change = { message: message('msg_1'), user: deletion('user_1', T0) }
  // As if an error had been lost on the way: the transaction is over, and COMMIT ends it without another.
  beforeFirst(pool, 'commit', (query) => void query('select 1 / 0').catch(() => undefined))
  await t.rejects(apply(change), { code: 'DATABASE_UNAVAILABLE', cause: { message: /rollback/i } })
  t.strictSame(await database.query('select * from webhook_events'), [])
  t.strictSame(await apply(change), ['applied'], 'the redelivery is no duplicate')
})

test('a commit whose answer is lost is told as trouble, and the redelivery as a duplicate', async (t) => {
  const { apply, database, pool } = await startRepository(t)
  const change = { message: message('msg_1'), user: deletion('user_1', T0) }
  beforeFirst(pool, 'commit', async (query) => {
    await query('commit')
    await database.query(
      'select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()',
    )
  })
  await t.rejects(apply(change), { code: 'DATABASE_UNAVAILABLE' })
  t.strictSame(await apply(change), ['duplicate'])
  t.match(await database.query('select outcome, attempts from webhook_events'), [{ outcome: 'applied', attempts: 2 }])
  t.match(await database.query('select id from users'), [{ id: 'user_1' }])
})

test('a message that the ledger no longer knows when its batch is sent again is applied with its change', async (t) => {
  const { apply, database, pool } = await startRepository(t)
  const [one, two] = ['msg_1', 'msg_2'].map((id, i) => ({ message: message(id), user: snapshot(`user_${i}`, T0) }))
  // As after a failover to a standby that lacks the last commits.
  beforeFirst(pool, 'rollback', async (query) => {
    await query('rollback')
    await database.query('truncate users, webhook_events')
  })
  t.strictSame(await apply(one as Change), ['applied'])
  t.strictSame(await apply(one as Change, two as Change), ['applied', 'applied'])
  t.match(await database.query('select id, attempts from webhook_events order by id'), [
    { id: 'msg_1', attempts: 1 },
    { id: 'msg_2', attempts: 1 },
  ])
  t.match(await database.query('select id from users order by id'), [{ id: 'user_0' }, { id: 'user_1' }])
})

test('of statements sent at once the first that failed is to blame, whoever hears of it first', async (t) => {
  const slow = sleep(20).then(() => Promise.reject(new Error('the cause')))
  const quick = Promise.reject(new Error('because of it'))
  await t.rejects(inOrder([Promise.resolve(), slow, quick]), { message: 'the cause' })
  await inOrder([Promise.resolve()])
})

test('a refusal is told from what only failed behind it', async (t) => {
  const { apply, database } = await startRepository(t)
  await database.query('alter table users add constraint no_x check (username <> $$x$$)')
  const refused = {
    message: message('msg_1'),
    user: snapshot('user_1', T0, { username: 'x' }),
    session: session('sess_1', 'user_1', 'active', T0),
  }
  t.match(await apply(refused, { user: snapshot('user_2', T0) }), [{ code: '23514' }, 'applied'])
  t.match(await database.query('select outcome, error from webhook_events'), [{ outcome: 'failed', error: /^23514/ }])
})

test('messages that came before are met among new ones: nothing of them is written, and each attempt is counted once', async (t) => {
  const { apply, database } = await startRepository(t)
  const old = ['a', 'b'].map((name) => ({
    message: message(`msg_${name}`),
    user: snapshot(`user_${name}`, T0, { source: 'clerk_api', username: name }),
    session: session(`sess_${name}`, `user_${name}`, 'active', T0),
  }))
  await apply(...old)
  const rows = async () => [
    await database.query('select xmin, * from users where id <> $$user_c$$ order by id'),
    await database.query('select xmin, * from sessions order by id'),
  ]
  const before = await rows()
  const repeated = old.map((change) => ({ ...change, user: { ...change.user, source: 'webhook' as const } }))
  t.strictSame(await apply(...repeated), ['duplicate', 'duplicate'])
  t.strictSame(await rows(), before)
  const fresh = { message: message('msg_c'), user: snapshot('user_c', T0) }
  t.strictSame(await apply(...repeated, fresh, fresh), ['duplicate', 'duplicate', 'applied', 'duplicate'])
  t.strictSame(await rows(), before)
  t.match(await database.query('select id, attempts, outcome from webhook_events order by id'), [
    { id: 'msg_a', attempts: 3, outcome: 'applied' },
    { id: 'msg_b', attempts: 3, outcome: 'applied' },
    { id: 'msg_c', attempts: 2, outcome: 'applied' },
  ])
})

test('a message that was applied is a duplicate, also once its change would be refused', async (t) => {
  const { apply, database } = await startRepository(t)
  const change = { message: message('msg_1'), user: snapshot('user_1', T0, { username: 'x' }) }
  t.strictSame(await apply(change), ['applied'])
  await database.query('alter table users add constraint no_x check (username <> $$x$$) not valid')
  t.strictSame(await apply(change), ['duplicate'])
  t.match(await database.query('select outcome, attempts from webhook_events'), [{ outcome: 'applied', attempts: 2 }])
})
