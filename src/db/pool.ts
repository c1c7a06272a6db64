/** Connections with limits: nothing that PostgreSQL does, or fails to do, may keep a request waiting for ever. */
import pg from 'pg'
import { plain, withSearchPath } from './search-path.ts'
import { TimedClient } from './timed-client.ts'
import { createTransactionPool } from './transaction-pooling.ts'

export interface PoolOptions {
  /** A `postgres://` URL. */
  connectionString: string
  /** The schema of the tables (see `migrate`); the database's own first one unless told. */
  schema?: string
  /** Connections at most, 10 unless told. */
  max?: number
  applicationName?: string
  /** Whether a pooler such as PgBouncer, in transaction mode, stands in front of PostgreSQL. */
  transactionPooling?: boolean
  /** How long to wait for a free or new connection. */
  connectTimeoutMs?: number
  /** When PostgreSQL gives up waiting for a row that somebody else has locked: only that batch is late then. */
  lockTimeoutMs?: number
  /** When PostgreSQL itself gives a statement up. */
  statementTimeoutMs?: number
  /** When we give a statement up, because PostgreSQL does not even say that it did. */
  queryTimeoutMs?: number
  /** A connection broke, idle or not; the pool drops it. */
  onError: (error: Error) => void
}

/** A pool with time limits. An idle connection that breaks is reported, and never ends the process. */
export function createPool(options: PoolOptions): pg.Pool {
  const { connectionString, schema } = options
  const common = {
    connectionString,
    max: options.max ?? 10,
    application_name: options.applicationName ?? 'clerk-session-sync',
    connectionTimeoutMillis: options.connectTimeoutMs ?? 2_000,
    query_timeout: options.queryTimeoutMs ?? 3_500,
    idleTimeoutMillis: 30_000,
    keepAlive: true,
    // What may be sent at once is: see `inTransaction`.
    pipeline: true,
  }
  const limits = {
    // Longer than PostgreSQL's deadlock_timeout of 1 s: a deadlock is found first, and tried again.
    lock_timeout: options.lockTimeoutMs ?? 1_500,
    statement_timeout: options.statementTimeoutMs ?? 3_000,
  }
  const pool = options.transactionPooling
    ? createTransactionPool(common, { ...limits, ...(schema !== undefined && { search_path: `"${plain(schema)}"` }) })
    : new pg.Pool({
        ...common,
        ...limits,
        connectionString: withSearchPath(connectionString, schema),
        Client: TimedClient as typeof pg.Client,
      })
  // Of each connection itself, since the pool tells of idle ones alone. Between checkout and release the query fails as well.
  pool.on('connect', (client) => client.on('error', options.onError))
  // The same error once more, with the whole connection hung on it: its addresses, and the key that cancels its queries.
  pool.on('error', (error: Error & { client?: unknown }) => {
    delete error.client
  })
  return pool
}

// SQLSTATE classes that blame the data or the statement: cardinality, data, integrity, check option, syntax or access,
// limits, raised by a trigger. https://www.postgresql.org/docs/current/errcodes-appendix.html
const DATA_ERROR = /^(21|22|23|44|42|54|P0)/
// No permission, no such table: not migrated, or not for us.
const NOT_THE_DATA = new Set(['42501', '42P01'])

/** Whether PostgreSQL refused this data, and would refuse it again. */
export function isDataError(error: unknown): error is pg.DatabaseError {
  if (!(error instanceof pg.DatabaseError)) return false
  const code = String(error.code)
  return DATA_ERROR.test(code) && !NOT_THE_DATA.has(code)
}

/** Whether PostgreSQL answered, if only with an error. */
export const isServerError = (error: unknown): boolean => error instanceof pg.DatabaseError

/** Whether two transactions got into each other's way: trying again helps. */
export function isConflict(error: unknown): boolean {
  return error instanceof pg.DatabaseError && (error.code === '40001' || error.code === '40P01')
}

// What pg and TLS throw without a SQLSTATE: connections that ended, waits that were given up, a pool that is closing,
// a certificate that is not trusted.
const PG_TROUBLE =
  /connection terminated|timeout|not queryable|after calling end|connection error|client was closed|ssl|tls|certificate/i

/**
 * Whether the database is in trouble of its own: unreachable, starting, read-only, out of connections, refusing the login,
 * too slow, or in any other state that is not about the data.
 */
export function isDatabaseTrouble(error: unknown): boolean {
  if (error instanceof pg.DatabaseError) return !isDataError(error)
  if (error instanceof AggregateError) return error.errors.every(isDatabaseTrouble)
  return error instanceof Error && ('syscall' in error || 'errno' in error || PG_TROUBLE.test(error.message))
}
