/** A PostgreSQL of the bench's own, as durable as any (fsync and synchronous_commit are on), and a database a contender. */
import { chmodSync, existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { migrate } from '../src/db/migrate.ts'
import { startEmbeddedPostgres } from '../src/embedded/postgres.ts'
import { INSERT_LEDGER, INSERT_SESSIONS, INSERT_USERS } from './bench-user.ts'
import { cpuOfTreeMs } from './machine.ts'

export interface Postgres {
  /** A new database with the tables of this commit, or those that `createTables` makes, and the users `1` to `users`. */
  createDatabase(
    name: string,
    users: number,
    versionMs: number,
    createTables?: (url: string) => Promise<void>,
  ): Promise<Database>
  stop(): Promise<void>
}

export interface Database {
  url: string
  query<Row extends pg.QueryResultRow>(sql: string, values?: unknown[]): Promise<Row[]>
  /** More users, from the number after the last. */
  growTo(users: number, versionMs: number): Promise<void>
  growLedger(rows: number): Promise<void>
  /** Puts what earlier runs left behind in order, so that each begins alike. */
  tidy(): Promise<void>
  counters(): Promise<Counters>
}

/** What PostgreSQL has done so far. */
export interface Counters {
  /** Of all its processes, autovacuum and checkpoints included. */
  cpuMs: number
  /** Transactions of this database, read-only ones too. Backends report about once a second. */
  commits: number
  walBytes: number
}

/** @param settings further settings of the server, such as `shared_buffers=2GB` */
export async function startPostgres(settings: string[] = []): Promise<Postgres> {
  const directory = mkdtempSync(join(tmpdir(), 'clerk-session-sync-bench-'))
  chmodSync(directory, 0o711) // As root, PostgreSQL runs as another user.
  const remove = () => removeDirectory(directory)
  const server = await startEmbeddedPostgres({ directory: join(directory, 'data'), settings })
  process.once('exit', remove)
  const admin = new pg.Client({ connectionString: server.url })
  await admin.connect()
  const closers: (() => Promise<void>)[] = [() => admin.end()]

  async function createDatabase(
    name: string,
    users: number,
    versionMs: number,
    createTables: (url: string) => Promise<unknown> = migrate,
  ): Promise<Database> {
    await admin.query(`create database ${name}`)
    const url = new URL(server.url)
    url.pathname = name
    await createTables(url.href)
    // The bench names the tables without their schema; the service never does. Version 1 had them in `public`.
    const client = new pg.Client({ connectionString: url.href, options: '-c search_path=clerk,public' })
    await client.connect()
    closers.push(() => client.end())
    let last = 0
    const database: Database = {
      url: url.href,
      query: async (sql, values) => (await client.query(sql, values)).rows,
      async growTo(users, versionMs) {
        for (const insert of [INSERT_USERS, INSERT_SESSIONS]) await client.query(insert, [last + 1, users, versionMs])
        last = users
        await client.query('vacuum analyze')
      },
      async growLedger(rows) {
        await client.query(INSERT_LEDGER, [rows])
        await client.query('vacuum analyze')
      },
      async tidy() {
        await client.query('vacuum users, webhook_events')
        await client.query('checkpoint')
      },
      async counters() {
        const cpuMs = cpuOfTreeMs(server.pid)
        const { rows } = await admin.query(
          `select xact_commit::float8 as commits, (pg_current_wal_insert_lsn() - '0/0')::float8 as "walBytes"
          from pg_stat_database where datname = $1`,
          [name],
        )
        return { cpuMs, ...rows[0] }
      },
    }
    await database.growTo(users, versionMs)
    return database
  }

  return {
    createDatabase,
    async stop() {
      await Promise.all(closers.map((close) => close()))
      await server.stop()
      process.removeListener('exit', remove)
      remove()
    },
  }
}

const REMOVE_ATTEMPTS = 50
const REMOVE_RETRY_MS = 100

/** Also while PostgreSQL is still at its last files, as when the process is interrupted: hence without awaiting. */
function removeDirectory(directory: string): void {
  for (let attempt = 1; attempt <= REMOVE_ATTEMPTS; attempt += 1) {
    try {
      rmSync(directory, { recursive: true, force: true })
    } catch {
      // A file came into a directory that was empty a moment before.
    }
    if (!existsSync(directory)) return
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, REMOVE_RETRY_MS)
  }
}
