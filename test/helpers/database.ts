import { randomBytes } from 'node:crypto'
import pg from 'pg'
import type { Test } from 'tap'
import { readServer, TEMPLATE } from './postgres-server.ts'
import { forbidPeople, MOST_PEOPLE } from './run-log.ts'

export interface TestDatabase {
  url: string
  /** For looking at the rows and for breaking them by hand. */
  query<Row extends pg.QueryResultRow = pg.QueryResultRow>(sql: string, values?: unknown[]): Promise<Row[]>
  /** A connection of its own, as of an application; given back by `release`. */
  connect(): Promise<pg.PoolClient>
}

const PEOPLE = `select first_name, last_name, username from users limit ${MOST_PEOPLE}`

/** A database of the test's own, cloned from the migrated template (or empty), and dropped with everybody in it at the end. */
export async function createDatabase(t: Test, { isEmpty = false } = {}): Promise<TestDatabase> {
  const server = readServer()
  if (!server) throw new Error('run the tests by tap, which starts PostgreSQL first')
  const name = `test_${randomBytes(6).toString('hex')}`
  await asAdmin(server.url, `create database ${name} template ${isEmpty ? 'template0' : TEMPLATE}`)
  const url = new URL(server.url)
  url.pathname = name
  // Tests name the tables without their schema; the service never does.
  const pool = new pg.Pool({ connectionString: url.href, max: 4, options: '-c search_path=clerk,public' })
  pool.on('error', () => undefined)
  t.teardown(async () => {
    forbidPeople((await pool.query(PEOPLE).catch(() => ({ rows: [] }))).rows)
    await pool.end()
    await asAdmin(server.url, `drop database ${name} with (force)`)
  })
  return {
    url: url.href,
    async query<Row extends pg.QueryResultRow>(sql: string, values?: unknown[]) {
      return (await pool.query<Row>(sql, values)).rows
    },
    connect: () => pool.connect(),
  }
}

async function asAdmin(url: string, sql: string): Promise<void> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    await client.query(sql)
  } finally {
    await client.end()
  }
}
