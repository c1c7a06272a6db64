import { createServer, type Socket } from 'node:net'
import pg from 'pg'
import { type Test, test } from 'tap'
import { isConflict, isDatabaseTrouble, isDataError } from '../../src/db/errors.ts'
import { createPool, type PoolOptions } from '../../src/db/pool.ts'
import { createDatabase } from '../helpers/database.ts'
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
  return pool.query(sql).then(
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

test('every state of PostgreSQL that is its own trouble counts as that', async (t) => {
  const { database } = await start(t)
  const { url } = database
  const trouble = async (what: string, error: unknown, code?: string) => {
    t.ok(isDatabaseTrouble(error), `${what}: ${error}`)
    t.notOk(isDataError(error), `${what} is not the data's fault`)
    if (code) t.match(error, { code }, what)
  }
  await trouble('nothing listens', await errorOf(t, 'postgres://u:p@127.0.0.1:1/d'), 'ECONNREFUSED')
  await trouble('no such host', await errorOf(t, 'postgres://u:p@nowhere.invalid/d'))
  await trouble('several addresses', new AggregateError([await errorOf(t, 'postgres://u:p@127.0.0.1:1/d')]))
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
  await trouble('a certificate that is not trusted', new Error('self-signed certificate'))
  await trouble('silent', await errorOf(t, url, 'select pg_sleep(1)', { statementTimeoutMs: 900, queryTimeoutMs: 50 }))
  await trouble('terminated', await errorOf(t, url, 'select pg_terminate_backend(pg_backend_pid())'), '57P01')
  await trouble('not allowed', await errorOf(t, url, 'set role pg_monitor; create table x ()'), '42501')

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
  await trouble('gone while idle', Object.assign(new Error('read ECONNRESET'), { syscall: 'read' }))
  await trouble('a closed pool', new Error('Cannot use a pool after calling end on the pool'))
})

test('a pool whose connections are all taken counts as trouble', async (t) => {
  const { pool } = await start(t, { max: 1, connectTimeoutMs: 1_000 })
  const client = await pool.connect()
  const error = await pool.query('select 1').catch((reason: unknown) => reason)
  client.release()
  t.ok(isDatabaseTrouble(error), String(error))
})

test('what the data or the statement is to blame for is no trouble of the database', async (t) => {
  const { database } = await start(t)
  const cases = {
    '22P05': `select '{"a":"\\u0000"}'::jsonb`,
    '22P02': `select 'x'::int`,
    '22003': 'select 99999999999::int',
    '23505': 'create temp table x (id int primary key); insert into x values (1), (1)',
    '42703': 'select nothing from pg_class',
    '54000':
      'create temp table y (id text primary key); insert into y select string_agg(random()::text, $$$$) from generate_series(1, 9999)',
    P0001: `do $$ begin raise 'no'; end $$`,
  }
  for (const [code, sql] of Object.entries(cases)) {
    const error = await errorOf(t, database.url, sql)
    t.match(error, { code })
    t.ok(isDataError(error) && !isDatabaseTrouble(error), `${code} ${error}`)
  }
})

test('errors of other origins are neither', async (t) => {
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

test('a connection that breaks is reported, idle or not, and the pool goes on', async (t) => {
  const { database, pool, errors } = await start(t, { max: 2 })
  const terminate = (pid: number) => database.query('select pg_terminate_backend($1)', [pid])
  const pidOf = async (client: pg.Pool | pg.PoolClient) =>
    (await client.query('select pg_backend_pid() as pid')).rows[0].pid

  await terminate(await pidOf(pool))
  await waitUntil('the report of the idle connection', async () => errors.length > 0)
  const client = await pool.connect()
  t.strictSame(
    errors.map((error) => 'client' in error),
    errors.map(() => false),
    'without the connection, which holds the key that cancels its queries',
  )
  t.equal(errors.length, new Set(errors).size, 'each error once')
  errors.length = 0
  await terminate(await pidOf(client))
  await waitUntil('the report of the connection in use', async () => errors.length > 0)
  client.release(true)
  t.match((await pool.query('select 1 as one')).rows, [{ one: 1 }])
})

test('limits and names are as told, or the default', async (t) => {
  const { database, pool } = await start(t)
  const shown = async (from: pg.Pool) =>
    (
      await from.query(
        "select current_setting('statement_timeout') as timeout, current_setting('application_name') as name",
      )
    ).rows
  t.strictSame(await shown(pool), [{ timeout: '3s', name: 'clerk-session-sync' }])
  t.equal(pool.options.max, 10)
  const other = createPool({
    connectionString: database.url,
    max: 3,
    applicationName: 'mine',
    statementTimeoutMs: 70,
    onError: () => undefined,
  })
  t.teardown(() => other.end())
  t.strictSame(await shown(other), [{ timeout: '70ms', name: 'mine' }])
  t.equal(other.options.max, 3)
})
