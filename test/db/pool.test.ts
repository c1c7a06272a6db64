import { createServer, type Socket } from 'node:net'
import { sql } from 'drizzle-orm'
import pg from 'pg'
import { type Test, test } from 'tap'
import { isConflict, isDatabaseTrouble, isDataError } from '../../src/db/errors.ts'
import { createPool, type Pool, type PoolOptions } from '../../src/db/pool.ts'
import { syncState } from '../../src/db/schema.ts'
import { $, statement } from '../../src/db/statement.ts'
import { createDatabase } from '../helpers/database.ts'
import { runOn } from '../helpers/repository.ts'
import { createTcpProxy } from '../helpers/tcp-proxy.ts'
import { waitUntil } from '../helpers/wait-until.ts'

async function start(t: Test, options: Partial<PoolOptions> = {}) {
  const database = await createDatabase(t)
  const errors: Error[] = []
  const pool = createPool({ connectionString: database.url, onError: (error) => errors.push(error), ...options })
  t.teardown(() => pool.end())
  return { database, pool, errors }
}

/** The error of a query in a pool of its own. */
async function errorOf(t: Test, connectionString: string, sql = 'select 1', options: Partial<PoolOptions> = {}) {
  const pool = createPool({ connectionString, onError: () => undefined, ...options })
  t.teardown(() => pool.end())
  return runOn(pool, sql).then(
    () => t.fail('no error'),
    (error: Error) => error,
  )
}

const withUrl = (url: string, edit: (url: URL) => void) => {
  const edited = new URL(url)
  edit(edited)
  return edited.href
}

/** A server that says nothing, or this. */
async function listen(t: Test, onConnection: (socket: Socket) => void): Promise<string> {
  const sockets: Socket[] = []
  const server = createServer((socket) => {
    sockets.push(socket.on('error', () => undefined))
    onConnection(socket)
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  const { port } = server.address() as { port: number }
  return `postgres://u:p@127.0.0.1:${port}/d`
}

test('every problem of PostgreSQL itself counts as unavailable', async (t) => {
  const { database } = await start(t)
  const { url } = database
  const trouble = async (what: string, error: unknown, code?: string) => {
    t.ok(isDatabaseTrouble(error), `${what}: ${error}`)
    t.notOk(isDataError(error), `${what} is not the data's fault`)
    if (code) t.match(error, { code }, what)
  }
  await trouble('nothing listens', await errorOf(t, 'postgres://u:p@127.0.0.1:1/d'), 'ECONNREFUSED')
  await trouble('no such host', await errorOf(t, 'postgres://u:p@nowhere.invalid/d'))
  await trouble('it hangs', await errorOf(t, await listen(t, () => undefined), 'select 1', { connectTimeoutMs: 100 }))
  await trouble('it hangs up', await errorOf(t, await listen(t, (socket) => socket.destroy())))
  await trouble(
    'no such database',
    await errorOf(
      t,
      withUrl(url, (u) => (u.pathname = '/nowhere')),
    ),
    '3D000',
  )
  await trouble(
    'read-only',
    await errorOf(t, `${url}?options=-c%20default_transaction_read_only=on`, 'create table x ()'),
    '25006',
  )
  await trouble('too slow', await errorOf(t, url, 'select pg_sleep(9)', { statementTimeoutMs: 50 }), '57014')
  await trouble('not migrated', await errorOf(t, url, 'select * from nowhere'), '42P01')
  await trouble('no TLS', await errorOf(t, `${url}?sslmode=require`))
  await trouble('silent', await errorOf(t, url, 'select pg_sleep(1)', { statementTimeoutMs: 900, queryTimeoutMs: 50 }))
  await trouble('terminated', await errorOf(t, url, 'select pg_terminate_backend(pg_backend_pid())'), '57P01')

  const role = `limited_${process.pid}`
  await database.query(`create role ${role} login password 'right' connection limit 0`)
  t.teardown(async () => {
    const admin = new pg.Client({ connectionString: url })
    await admin.connect()
    await admin.query(`drop role ${role}`)
    await admin.end()
  })
  const as = (password: string) => withUrl(url, (u) => Object.assign(u, { username: role, password }))
  await trouble('too many connections', await errorOf(t, as('right')), '53300')
  await trouble('login refused', await errorOf(t, as('wrong')), '28P01')
  await database.query(`alter role ${role} connection limit 1`)
  await trouble('not allowed', await errorOf(t, as('right'), 'select * from clerk.users'), '42501')
  const closed = createPool({ connectionString: url, onError: () => undefined })
  await closed.end()
  await trouble('a closed pool', await runOn(closed, 'select 1').catch((error: unknown) => error))
})

test('a pool without a free connection counts as unavailable', async (t) => {
  const { pool } = await start(t, { max: 1, connectTimeoutMs: 500 })
  const slow = runOn(pool, 'select pg_sleep(2)')
  const error = await runOn(pool, 'select 1').catch((reason: unknown) => reason)
  t.ok(isDatabaseTrouble(error), String(error))
  await slow
})

test('an error in the data or statement does not count as unavailable', async (t) => {
  const { database } = await start(t)
  const cases = {
    '22P05': `select '{"a":"\\u0000"}'::jsonb`,
    '22P02': `select 'x'::int`,
    '22003': 'select 99999999999::int',
    '23505': `do $$ begin create temp table x (id int primary key); insert into x values (1), (1); end $$`,
    '42703': 'select nothing from pg_class',
    '54000': `do $$ begin create temp table y (id text primary key);
      insert into y select string_agg(random()::text, '') from generate_series(1, 9999); end $$`,
    P0001: `do $$ begin raise 'no'; end $$`,
  }
  for (const [code, sql] of Object.entries(cases)) {
    const error = await errorOf(t, database.url, sql)
    t.match(error, { code })
    t.ok(isDataError(error) && !isDatabaseTrouble(error), `${code} ${error}`)
  }
})

test('errors that are not from the database are neither', async (t) => {
  for (const error of [
    new TypeError('x is not a function'),
    'timeout',
    null,
    new AggregateError([new TypeError('x')]),
  ]) {
    t.strictSame([isDatabaseTrouble(error), isDataError(error), isConflict(error)], [false, false, false])
  }
})

test('two SQLSTATEs are conflicts', async (t) => {
  const { database } = await start(t)
  for (const [code, isOne] of Object.entries({ '40001': true, '40P01': true, '40003': false, '23505': false })) {
    const error = await errorOf(t, database.url, `do $$ begin raise 'no' using errcode = '${code}'; end $$`)
    t.equal(isConflict(error), isOne, code)
  }
})

const pidOf = async (pool: Pool) =>
  (await runOn<{ pid: number }>(pool, 'select pg_backend_pid() as pid'))[0]?.pid as number

test('an idle connection that breaks is reported, one in use rejects, and the pool continues', async (t) => {
  const { database, pool, errors } = await start(t, { max: 2 })
  const terminate = (pid: number) => database.query('select pg_terminate_backend($1)', [pid])
  await terminate(await pidOf(pool))
  await waitUntil('the report of the idle connection', async () => errors.length > 0)
  t.strictSame(
    errors.map((error) => 'client' in error),
    errors.map(() => false),
    'without the connection, which holds the key that cancels its queries',
  )
  t.equal(errors.length, new Set(errors).size, 'each error once')
  await t.rejects(runOn(pool, 'select pg_terminate_backend(pg_backend_pid())'), { code: '57P01' })
  t.strictSame(await runOn(pool, 'select 1 as one'), [{ one: 1 }])
})

test('without an answer in time the connection is closed, its callers are rejected, and the pool continues', async (t) => {
  const database = await createDatabase(t)
  const proxy = await createTcpProxy(t, database.url)
  const { pool } = await start(t, { connectionString: proxy.url, queryTimeoutMs: 200 })
  await runOn(pool, 'select 1')
  proxy.freeze()
  const error = await runOn(pool, 'select 1').catch((error: unknown) => error)
  t.match(error, { name: 'DatabaseTimeout', message: 'PostgreSQL has not answered for 200 ms' })
  t.match((error as Error).stack, /pool/, 'and its stack leads to who asked')
  t.ok(isDatabaseTrouble(error))
  t.strictSame(pool.counts, { total: 0, idle: 0, waiting: 0 })
  await proxy.restore()
  t.strictSame(await runOn(pool, 'select 1 as one'), [{ one: 1 }])
})

const SHOWN = `select current_setting('statement_timeout') as statement, current_setting('lock_timeout') as lock,
  current_setting('transaction_isolation') as isolation, current_setting('application_name') as name`
const shown = statement<Record<string, string>>('shown', () => sql.raw(SHOWN))

/** The settings within a transaction of writes. */
async function shownByWrites(pool: Pool) {
  const call = shown.call()
  await pool.transact([call])
  return call.rows
}

test('time limits come from the options or the defaults, and last for the transaction only', async (t) => {
  const { database, pool } = await start(t, { max: 1 })
  const ours = { isolation: 'read committed', name: 'clerk-session-sync' }
  t.strictSame(await runOn(pool, SHOWN), [{ ...ours, statement: '3s', lock: '0' }], 'reads wait for no row')
  t.strictSame(await shownByWrites(pool), [{ ...ours, statement: '3s', lock: '1500ms' }])
  const other = createPool({
    connectionString: database.url,
    applicationName: 'mine',
    statementTimeoutMs: 70,
    lockTimeoutMs: 60,
    onError: () => undefined,
  })
  t.teardown(() => other.end())
  const theirs = { ...ours, name: 'mine' }
  t.strictSame(await shownByWrites(other), [{ ...theirs, statement: '70ms', lock: '60ms' }])
  // The session itself keeps none: what PostgreSQL would tell the next client of a pooler.
  const [row] = await runOn<{ reset: string[] }>(
    pool,
    `select array_agg(reset_val order by name) as reset from pg_settings
    where name in ('idle_in_transaction_session_timeout', 'lock_timeout', 'statement_timeout')`,
  )
  t.strictSame(row, { reset: ['0', '0', '0'] })
})

test('ten connections at most by default, or as many as set', async (t) => {
  for (const max of [undefined, 3]) {
    const { pool } = await start(t, { max })
    const pids = await Promise.all(
      Array.from({ length: 20 }, async () => {
        const [row] = await runOn<{ pid: number }>(pool, 'select pg_backend_pid() as pid, pg_sleep(0.1)')
        return row?.pid
      }),
    )
    t.equal(new Set(pids).size, max ?? 10)
    t.equal(pool.counts.total, max ?? 10)
  }
})

test('many concurrent queries on few connections each get their own rows, also if others fail', async (t) => {
  const { pool } = await start(t, { max: 3 })
  const results = await Promise.allSettled(
    Array.from({ length: 200 }, (_, i) => runOn(pool, `select 6 / ${i % 7} as n, ${i} as i`)),
  )
  for (const [i, result] of results.entries()) {
    if (i % 7 === 0) t.match(result, { status: 'rejected', reason: { code: '22012' } })
    else t.strictSame(result, { status: 'fulfilled', value: [{ n: Math.trunc(6 / (i % 7)), i }] })
  }
})

test('a transaction that fails before its limits are set changes nothing', async (t) => {
  const { database, pool } = await start(t)
  const insert = statement('insert', (t) => sql`insert into ${t(syncState)} values (${$(1)}, '{}')`)
  const call = insert.call('job')
  await t.rejects(pool.transact([call], { lockTimeoutMs: -2 }), { code: '22023' })
  t.strictSame(await database.query('select * from sync_state'), [])
  await pool.transact([call])
  t.strictSame(await database.query('select job from sync_state'), [{ job: 'job' }])
})

test('a value that cannot be sent rejects its transaction, which changes nothing, and the pool continues', async (t) => {
  const { database, pool } = await start(t, { max: 1 })
  const insert = statement('insert', (t) => sql`insert into ${t(syncState)} values (${$(1)}, '{}')`)
  const unsendable = {
    toPostgres() {
      throw new RangeError('no text')
    },
  }
  await t.rejects(pool.transact([insert.call('first'), insert.call(unsendable)]), { message: /no text/ })
  t.strictSame(await database.query('select * from sync_state'), [])
  await pool.transact([insert.call('next')])
  t.strictSame(await database.query('select job from sync_state'), [{ job: 'next' }])
})
