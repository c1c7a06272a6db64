import type pg from 'pg'
import { type Test, test } from 'tap'
import { TimedClient, type TimedStatement } from '../../src/db/timed-client.ts'
import { createDatabase } from '../helpers/database.ts'

async function connect(t: Test, timeoutMs: number) {
  const { url } = await createDatabase(t)
  const client = new TimedClient({ connectionString: url, query_timeout: timeoutMs, pipeline: true } as pg.ClientConfig)
  const errors: Error[] = []
  client.on('error', (error) => errors.push(error))
  await client.connect()
  t.teardown(() => client.end())
  return { client, errors }
}

const sleep = (seconds: number, timeoutMs?: number): TimedStatement => ({
  text: 'select pg_sleep($1)',
  values: [seconds],
  timeoutMs,
})

test('it takes what pg takes', async (t) => {
  const { client } = await connect(t, 5_000)
  t.match(await client.query('select 1 as n'), { rows: [{ n: 1 }] })
  t.match(await client.query('select $1::int as n', [2]), { rows: [{ n: 2 }] })
  t.match(await client.query({ name: 'three', text: 'select $1::int as n', values: [3] }), { rows: [{ n: 3 }] })
  const called = (...args: unknown[]) =>
    new Promise((done) => {
      Reflect.apply(client.query, client, [...args, (_error: Error, { rows }: pg.QueryResult) => done(rows)])
    })
  t.strictSame(await called('select 4 as n'), [{ n: 4 }])
  t.strictSame(await called('select $1::int as n', [5]), [{ n: 5 }])
  await t.rejects(client.query('select nothing'), { code: '42703', stack: /timed-client\.test/ })
  t.match(await client.query('select 6 as n'), { rows: [{ n: 6 }] }, 'and goes on after an error')
})

test('a statement without an answer in time closes the connection, and fails what was sent with it', async (t) => {
  const { client, errors } = await connect(t, 200)
  const startedAt = performance.now()
  const sent = [client.query(sleep(5)), client.query('select 1'), client.query('select 2')]
  const timeout = { message: 'timeout: PostgreSQL has not answered for 200 ms' }
  for (const query of sent) await t.rejects(query, timeout)
  const tookMs = performance.now() - startedAt
  t.ok(tookMs >= 199 && tookMs < 4_000, `after ${tookMs} ms`)
  t.match(errors, [timeout])
  await t.rejects(client.query('select 1'), /not queryable/)
})

test('0 is no limit', async (t) => {
  const { client } = await connect(t, 0)
  t.match(await client.query(sleep(0.3)), { rowCount: 1 })
})

test('a statement may have a time limit of its own, and those of others before it are over', async (t) => {
  const { client } = await connect(t, 200)
  await client.query('select 1')
  await t.rejects(client.query('select nothing'), { code: '42703' })
  t.match(await client.query(sleep(0.5, 5_000)), { rowCount: 1 })
  await t.rejects(client.query(sleep(5, 20)), /has not answered for 20 ms/)
})
