import { type Test, test } from 'tap'
import type { Change } from '../../src/domain/change.ts'
import { createDatabase, type TestDatabase } from '../helpers/database.ts'
import { deletion, message, runOn, session, snapshot, startRepository, T0 } from '../helpers/repository.ts'
import { createTcpProxy } from '../helpers/tcp-proxy.ts'
import { waitUntil } from '../helpers/wait-until.ts'

const TABLES = ['webhook_events', 'users', 'sessions']

const event = (id: string, user: ReturnType<typeof snapshot>): Change => ({ message: message(id), user })

/** Makes every write of this table run this PL/pgSQL first. */
async function onWrite({ query }: TestDatabase, table: string, body: string): Promise<void> {
  await query(`create function on_${table}() returns trigger language plpgsql as $$ begin ${body} return new; end $$`)
  await query(`create trigger on_write before insert or update on ${table} for each row execute function on_${table}()`)
}

const waiting = (database: TestDatabase, event: string) => async () => {
  const rows = await database.query(
    "select 1 from pg_stat_activity where datname = current_database() and wait_event_type = $1 and state = 'active'",
    [event],
  )
  return rows.length > 0
}

async function assertEmpty(t: Test, database: TestDatabase, why: string): Promise<void> {
  for (const table of TABLES) t.strictSame(await database.query(`select * from ${table}`), [], `${table}: ${why}`)
}

const ledger = (database: TestDatabase) =>
  database.query('select id, outcome, attempts from webhook_events order by id')

test('conflicts are retried, and counted', async (t) => {
  const { apply, database, repository } = await startRepository(t)
  await database.query('create sequence clerk.attempts')
  await onWrite(
    database,
    'users',
    "if nextval('clerk.attempts') <= 3 then raise 'no luck' using errcode = '40001'; end if;",
  )
  t.strictSame(await apply(event('msg_1', snapshot('user_1', T0))), ['applied'])
  t.equal(repository.counts.conflictRetries, 3)
  t.strictSame(await ledger(database), [{ id: 'msg_1', outcome: 'applied', attempts: 1 }])
})

test('lasting conflicts fail after four attempts, as unavailable', async (t) => {
  const { apply, database, repository } = await startRepository(t)
  await database.query('create sequence clerk.attempts')
  await onWrite(database, 'users', "perform nextval('clerk.attempts'); raise 'no luck' using errcode = '40P01';")
  const batch = [event('msg_1', snapshot('user_1', T0)), { user: snapshot('user_2', T0) }]
  await t.rejects(apply(...batch), { code: 'DATABASE_UNAVAILABLE', cause: { code: '40P01' } })
  t.equal(repository.counts.conflictRetries, 3)
  t.strictSame(await database.query('select last_value::int from clerk.attempts'), [{ last_value: 4 }])
  await assertEmpty(t, database, 'nothing of it stays')
})

test("a real deadlock with an application's transaction is survived", async (t) => {
  const { apply, database, repository } = await startRepository(t)
  const both = (time: number) => ({
    user: snapshot('user_1', time),
    session: session('sess_1', 'user_1', 'active', time),
  })
  await apply(both(T0))
  const application = await database.connect()
  t.teardown(() => application.release(true))
  // Only our side looks for the deadlock.
  await application.query("set deadlock_timeout = '1min'")
  await application.query("begin; select 1 from sessions where id = 'sess_1' for update")
  const applied = apply(both(T0 + 1))
  // Not that of the first attempt, which waits for less than PostgreSQL does before it looks for deadlocks.
  await waitUntil('the long wait for sess_1', async () => {
    const rows = await database.query(
      "select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and now() - xact_start > '400 ms'",
    )
    return rows.length > 0
  })
  await application.query("update users set banned = true where id = 'user_1'")
  await application.query('commit')
  t.strictSame(await applied, ['applied'])
  t.equal(repository.counts.conflictRetries, 1)
})

test('after a refused change the connection is reused; a broken one is replaced', async (t) => {
  const { apply, database, pool } = await startRepository(t, { max: 1 })
  const backend = async () => (await runOn<{ pid: number }>(pool, 'select pg_backend_pid() as pid'))[0]?.pid
  await onWrite(
    database,
    'users',
    `if new.username = 'refused' then raise 'refused'; end if;
     if new.username = 'broken' then perform pg_terminate_backend(pg_backend_pid()); end if;`,
  )
  const first = await backend()
  t.match(await apply({ user: snapshot('user_1', T0, { username: 'refused' }) }), [{ code: 'P0001' }])
  t.equal(await backend(), first)
  await t.rejects(apply({ user: snapshot('user_1', T0, { username: 'broken' }) }), { code: 'DATABASE_UNAVAILABLE' })
  t.not(await backend(), first)
  t.strictSame(await apply({ user: snapshot('user_1', T0, { username: 'fine' }) }), ['applied'])
})

test('a deletion waits for a session event without a user, and ends its session', async (t) => {
  const { apply, database } = await startRepository(t)
  await onWrite(database, 'sessions', "if tg_op = 'INSERT' then perform pg_sleep(0.3); end if;")
  const created = apply({ session: session('sess_1', 'user_1', 'active', T0) })
  await waitUntil('the session event in the middle', waiting(database, 'Timeout'))
  t.strictSame(await apply({ user: deletion('user_1', T0) }), ['applied'])
  t.strictSame(await created, ['applied'])
  t.strictSame(await database.query('select status from sessions'), [{ status: 'ended' }])
})

for (const isolation of ['repeatable read', 'serializable']) {
  test(`a session event without a user waits for a deletion, if the database's default is ${isolation}`, async (t) => {
    const { apply, database } = await startIsolated(t, isolation)
    await onWrite(database, 'users', 'perform pg_sleep(0.3);')
    const deleted = apply({ user: deletion('user_1', T0) })
    await waitUntil('the deletion in the middle', waiting(database, 'Timeout'))
    t.strictSame(await apply({ session: session('sess_1', 'user_1', 'active', T0) }), ['applied'])
    t.strictSame(await deleted, ['applied'])
    t.strictSame(await database.query('select status from sessions'), [{ status: 'ended' }])
  })

  test(`concurrent events of one user are applied without conflicts, if the default is ${isolation}`, async (t) => {
    const one = await startIsolated(t, isolation)
    const replicas = [one, await startRepository(t, { database: one.database })]
    const rounds = 40
    for (let round = 0; round < rounds; round += 1) {
      const outcomes = await Promise.all(
        replicas.map(({ apply }, i) =>
          apply(event(`msg_${round}_${i}`, snapshot('user_a', T0 + 2 * round + i, { username: `${round} ${i}` }))),
        ),
      )
      t.match(outcomes, [[/applied|stale/], ['applied']])
      t.strictSame(await one.database.query('select username from users'), [{ username: `${round} 1` }])
    }
    t.strictSame(
      replicas.map(({ repository }) => repository.counts.conflictRetries),
      [0, 0],
    )
    t.strictSame(await one.database.query("select count(*)::int from webhook_events where outcome <> 'failed'"), [
      { count: 2 * rounds },
    ])
  })
}

async function startIsolated(t: Test, isolation: string) {
  const database = await createDatabase(t)
  const name = new URL(database.url).pathname.slice(1)
  await database.query(`alter database ${name} set default_transaction_isolation = '${isolation}'`)
  return startRepository(t, { database })
}

test('wherever a transaction fails, nothing of it is stored, and the redelivery is not a duplicate', async (t) => {
  const change = {
    message: message('msg_1'),
    user: snapshot('user_1', T0),
    session: session('sess_1', 'user_1', 'active', T0),
  }
  for (const table of TABLES) {
    for (const timing of ['before', 'at the commit']) {
      const { apply, database } = await startRepository(t)
      await database.query(`create function fail() returns trigger language plpgsql as
        $$ begin raise 'cancelled' using errcode = '57014'; end $$`)
      await database.query(
        timing === 'before'
          ? `create trigger failing before insert on ${table} for each row execute function fail()`
          : `create constraint trigger failing after insert on ${table}
             deferrable initially deferred for each row execute function fail()`,
      )
      await t.rejects(apply(change), { code: 'DATABASE_UNAVAILABLE', cause: { code: '57014' } })
      await assertEmpty(t, database, `failed ${timing} ${table}`)
      await database.query(`drop trigger failing on ${table}`)
      t.strictSame(await apply(change), ['applied'])
      t.strictSame(await ledger(database), [{ id: 'msg_1', outcome: 'applied', attempts: 1 }])
    }
  }
})

test('statements that are sent at once have more time than a single one', async (t) => {
  const { apply, database, pool } = await startRepository(t, { queryTimeoutMs: 2_000 })
  await runOn(pool, 'select 1')
  for (const table of TABLES) await onWrite(database, table, 'perform pg_sleep(0.75);')
  const change = { user: snapshot('user_1', T0), session: session('sess_1', 'user_1', 'active', T0) }
  t.strictSame(await apply({ message: message('msg_1'), ...change }), ['applied'])
})

test('a commit whose answer is lost is unavailable, and the redelivery is a duplicate', async (t) => {
  const database = await createDatabase(t)
  const proxy = await createTcpProxy(t, database.url)
  const { apply, pool } = await startRepository(t, { database, connectionString: proxy.url })
  await runOn(pool, 'select 1')
  proxy.mute()
  const change = event('msg_1', snapshot('user_1', T0))
  const lost = t.rejects(apply(change), { code: 'DATABASE_UNAVAILABLE' })
  await waitUntil('the commit', async () => (await ledger(database)).length > 0)
  await proxy.restore()
  await lost
  t.strictSame(await apply(change), ['duplicate'])
  t.strictSame(await ledger(database), [{ id: 'msg_1', outcome: 'applied', attempts: 2 }])
  t.strictSame(await database.query('select id from users'), [{ id: 'user_1' }])
})

test('a connection that breaks before the statements arrive stores nothing', async (t) => {
  const database = await createDatabase(t)
  const proxy = await createTcpProxy(t, database.url)
  const { apply, pool } = await startRepository(t, { database, connectionString: proxy.url })
  await runOn(pool, 'select 1')
  proxy.freeze()
  const lost = t.rejects(apply(event('msg_1', snapshot('user_1', T0))), { code: 'DATABASE_UNAVAILABLE' })
  await waitUntil('the statements being on their way', async () => pool.counts.idle === 0)
  await proxy.restore()
  await lost
  await assertEmpty(t, database, 'nothing arrived')
  t.strictSame(await apply(event('msg_1', snapshot('user_1', T0))), ['applied'])
})

test('a message that disappears from the ledger while its batch is retried is applied', async (t) => {
  const { apply, database } = await startRepository(t)
  const [one, two] = [event('msg_1', snapshot('user_1', T0)), event('msg_2', snapshot('user_2', T0))]
  t.strictSame(await apply(one), ['applied'])
  // The second time user_2 is written, msg_1 is known to be a repeat. The ledger loses it then, as in a failover.
  await database.query('create table clerk.gate (); create sequence clerk.attempts')
  await onWrite(
    database,
    'users',
    `if new.id = 'user_2' and nextval('clerk.attempts') = 2 then
       while not exists (select from clerk.gate) loop perform pg_sleep(0.01); end loop;
     end if;`,
  )
  const applied = apply(one, two)
  await waitUntil('the second attempt', async () => {
    const [row] = await database.query('select last_value::int as n from clerk.attempts')
    return row?.n === 2
  })
  await database.query('delete from webhook_events; delete from users')
  await database.query('insert into clerk.gate default values')
  t.strictSame(await applied, ['applied', 'applied'])
  t.strictSame(await ledger(database), [
    { id: 'msg_1', outcome: 'applied', attempts: 1 },
    { id: 'msg_2', outcome: 'applied', attempts: 1 },
  ])
  t.strictSame(await database.query('select id from users order by id'), [{ id: 'user_1' }, { id: 'user_2' }])
})

test('a refused statement is distinguished from those that failed after it', async (t) => {
  const { apply, database } = await startRepository(t)
  await database.query('alter table users add constraint no_x check (username <> $$x$$)')
  const refused = {
    ...event('msg_1', snapshot('user_1', T0, { username: 'x' })),
    session: session('sess_1', 'user_1', 'active', T0),
  }
  t.match(await apply(refused, { user: snapshot('user_2', T0) }), [{ code: '23514' }, 'applied'])
  t.match(await database.query('select outcome, error from webhook_events'), [{ outcome: 'failed', error: /^23514/ }])
})

test('one event that PostgreSQL refuses fails alone', async (t) => {
  const { apply, database } = await startRepository(t)
  await database.query('alter table users add constraint no_x check (username <> $$x$$)')
  const events = ['a', 'x', 'b'].map((name) => event(`msg_${name}`, snapshot(`user_${name}`, T0, { username: name })))
  t.match(await apply(...events), ['applied', { code: '23514' }, 'applied'])
  t.strictSame(await ledger(database), [
    { id: 'msg_a', outcome: 'applied', attempts: 1 },
    { id: 'msg_b', outcome: 'applied', attempts: 1 },
    { id: 'msg_x', outcome: 'failed', attempts: 1 },
  ])
})

test('a change whose row is locked is late, and the others of its batch commit before', async (t) => {
  const { apply, database } = await startRepository(t)
  const users = Array.from({ length: 60 }, (_, i) => `user_${i}`)
  await apply(...users.map((id) => ({ user: snapshot(id, T0) })))
  const application = await database.connect()
  t.teardown(() => application.release(true))
  await application.query("begin; select 1 from users where id = 'user_7' for update")
  const applied = apply(...users.map((id) => event(`msg_${id}`, snapshot(id, T0 + 1))))
  await waitUntil('the others', async () => (await ledger(database)).length >= users.length - 1)
  // The lock is still held: the others did not wait for it.
  t.strictSame(await database.query("select 1 from webhook_events where id = 'msg_user_7'"), [])
  await application.query('rollback')
  await applied.catch(() => undefined)
  t.strictSame(
    await apply(event('msg_user_7', snapshot('user_7', T0 + 1))).then(([outcome]) =>
      /applied|duplicate/.test(String(outcome)),
    ),
    true,
  )
  t.strictSame(await database.query("select count(*)::int from webhook_events where outcome = 'applied'"), [
    { count: 60 },
  ])
})

test('a change whose row stays locked is unavailable, and its message is not stored as failed', async (t) => {
  const { apply, database, repository } = await startRepository(t, { lockTimeoutMs: 100 })
  await apply({ user: snapshot('user_1', T0) })
  const application = await database.connect()
  t.teardown(() => application.release(true))
  await application.query('begin; select 1 from users for update')
  const batch = [event('msg_1', snapshot('user_1', T0 + 1)), event('msg_2', snapshot('user_2', T0))]
  await t.rejects(apply(...batch), { code: 'DATABASE_UNAVAILABLE', cause: { code: '55P03' } })
  const [late, other] = await repository.applyEach(batch)
  t.match(other, { outcome: 'duplicate' }, 'it was applied the first time')
  await t.rejects(late as Promise<unknown>, { code: 'DATABASE_UNAVAILABLE', cause: { code: '55P03' } })
  t.strictSame(await ledger(database), [{ id: 'msg_2', outcome: 'applied', attempts: 2 }])
  await application.query('rollback')
  t.strictSame(await apply(event('msg_1', snapshot('user_1', T0 + 1))), ['applied'])
})

test('known messages among new ones write nothing, and each attempt is counted once', async (t) => {
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
  const fresh = event('msg_c', snapshot('user_c', T0))
  t.strictSame(await apply(...repeated, fresh, fresh), ['duplicate', 'duplicate', 'applied', 'duplicate'])
  t.strictSame(await rows(), before)
  t.strictSame(await ledger(database), [
    { id: 'msg_a', outcome: 'applied', attempts: 3 },
    { id: 'msg_b', outcome: 'applied', attempts: 3 },
    { id: 'msg_c', outcome: 'applied', attempts: 2 },
  ])
})

test('an applied message is a duplicate, even if its change would now be refused', async (t) => {
  const { apply, database } = await startRepository(t)
  const change = event('msg_1', snapshot('user_1', T0, { username: 'x' }))
  t.strictSame(await apply(change), ['applied'])
  await database.query('alter table users add constraint no_x check (username <> $$x$$) not valid')
  t.strictSame(await apply(change), ['duplicate'])
  t.strictSame(await ledger(database), [{ id: 'msg_1', outcome: 'applied', attempts: 2 }])
})

test('a message that failed before is applied, among new ones and duplicates', async (t) => {
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
  t.strictSame(await database.query('select id, username from users order by id'), [
    { id: 'user_failed', username: null },
    { id: 'user_new', username: null },
    { id: 'user_old', username: 'by hand' },
  ])
  t.strictSame(await database.query('select id, outcome, error, attempts from webhook_events order by id'), [
    { id: 'msg_failed', outcome: 'applied', error: null, attempts: 2 },
    { id: 'msg_new', outcome: 'applied', error: null, attempts: 1 },
    { id: 'msg_old', outcome: 'applied', error: null, attempts: 2 },
  ])
})

test('each event of a batch has the same outcome as alone', async (t) => {
  const { repository, database } = await startRepository(t, { storePayloads: true })
  await repository.apply([
    { user: snapshot('user_old', T0, { username: 'old' }) },
    { user: snapshot('user_new', T0 + 9_000, { username: 'newer' }) },
    { user: snapshot('user_same', T0, { username: 'same' }) },
    { user: { kind: 'claims', id: 'user_claims', issuedAt: T0 + 9_000, profile: { username: 'claimed' } } },
    { user: deletion('user_gone', T0) },
  ])
  const odd = `"\\\n\t{}, NULL 'é😀`
  const batch: [string, Change][] = [
    ['stale', event('msg_a', snapshot('user_old', T0 + 1_000, { username: 'older' }))],
    ['applied', event('msg_b', snapshot('user_old', T0 + 2_000, { username: odd, publicMetadata: { odd } }))],
    ['applied', event('msg_c', snapshot('user_old', T0 + 2_000, { username: odd, publicMetadata: { odd } }))],
    ['stale', event('msg_d', snapshot('user_new', T0))],
    ['applied', event('msg_e', snapshot('user_same', T0, { username: 'same' }))],
    ['applied', event('msg_f', snapshot('user_claims', T0, { email: 'ada@example.com', banned: true }))],
    ['stale', event('msg_g', snapshot('user_gone', T0 + 1_000))],
    ['applied', event('msg_i', snapshot('user_born', T0 + 1_000))],
    ['stale', event('msg_h', snapshot('user_born', T0))],
    ['ignored', { message: message('msg_z', { type: 'email.created' }) }],
  ]
  t.strictSame(
    await repository.apply(batch.map(([, change]) => change)),
    batch.map(([outcome, { message }]) => ({ outcome, created: message?.id === 'msg_i' })),
  )
  t.strictSame(
    await ledger(database),
    batch.map(([outcome, { message }]) => ({ id: message?.id as string, outcome, attempts: 1 })).sort(byId),
  )
  t.match(await database.query(`select username, public_metadata from users where id = 'user_old'`), [
    { username: odd, public_metadata: { odd } },
  ])
})

const byId = (a: { id: string }, b: { id: string }) => (a.id < b.id ? -1 : 1)

test('a message that two replicas apply at the same time is applied once, without a deadlock', async (t) => {
  const database = await createDatabase(t)
  const replicas = [await startRepository(t, { database }), await startRepository(t, { database })]
  const rounds = 100
  const applied: number[] = []
  for (let round = 0; round < rounds; round += 1) {
    const events = ['a', 'b', 'c'].map((name) => event(`msg_${round}_${name}`, snapshot(`user_${name}`, T0 + round)))
    const outcomes = await Promise.all([
      replicas[0]?.apply(...events),
      replicas[1]?.apply(...[...events].reverse(), { message: message(`msg_${round}`, { type: 'email.created' }) }),
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
  t.strictSame(
    await database.query(
      'select count(*)::int as messages, min(attempts) as least, max(attempts) as most from webhook_events where id like $$msg_%_b$$',
    ),
    [{ messages: rounds, least: 3, most: 3 }],
  )
})

test('a violated unique index of the application on the ledger is not mistaken for a known message', async (t) => {
  const { apply, database } = await startRepository(t)
  await database.query('create unique index on webhook_events (object_id)')
  t.strictSame(await apply(event('msg_1', snapshot('user_1', T0))), ['applied'])
  await t.rejects(apply(event('msg_2', snapshot('user_2', T0))), { code: '23505' })
  t.strictSame(await database.query('select id from users'), [{ id: 'user_1' }])
})
