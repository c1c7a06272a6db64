/** A connection pool with time limits, so that a request never waits forever for PostgreSQL. */
import { setTimeout as sleep } from 'node:timers/promises'
import pg, { type DatabaseError } from 'pg'
import { finishWith, type OnChange, OnChangeError } from './changes/on-change.ts'
import { CAUSE_SETTING } from './changes/trigger-sql.ts'
import { isConflict, isDatabaseTrouble, markTrouble } from './errors.ts'
import { type Sent, sendTogether } from './pipeline.ts'
import { DEFAULT_SCHEMA, plain } from './schema-name.ts'
import type { Call, Executor, Prepared } from './statement.ts'

export interface PoolOptions {
  /** A `postgres://` URL. */
  connectionString: string
  /** The schema of the tables (see `migrate`); `clerk` by default. */
  schema?: string
  /** The largest number of connections; 10 by default. */
  max?: number
  applicationName?: string
  /**
   * Whether a pooler in front of PostgreSQL does not support prepared statements (PgBouncer before 1.21 in transaction mode). The
   * pool detects this itself, at the cost of resending one statement.
   */
  transactionPooling?: boolean
  /** How long to wait for a free or new connection. */
  connectTimeoutMs?: number
  /** How long PostgreSQL waits for a locked row. */
  lockTimeoutMs?: number
  /** How long PostgreSQL runs a statement. */
  statementTimeoutMs?: number
  /** How long to wait for PostgreSQL's answer to a statement, in case it is unresponsive. */
  queryTimeoutMs?: number
  /** Called when a connection breaks, idle or not; the pool removes it. */
  onError: (error: Error) => void
}

export interface TransactOptions {
  /** Overrides the pool's limit. */
  lockTimeoutMs?: number
  /** Called when the transaction is retried because of a conflict (40001, 40P01). */
  onRetry?: () => void
  /** The cause of the row changes, for the change feed (see changes/trigger-sql.ts). */
  cause?: string
  /** Called within the transaction, before its commit. */
  onChange?: OnChange
  /** Calls that read what the transaction has written. */
  reads?: Call[]
}

const MAX_ATTEMPTS = 4
// A statement has 2 s for a connection and 3.5 s for its answer. A transaction has 1.5 times as long for its answer, because each of
// its statements may wait.
const TRANSACTION_TIMEOUTS = 1.5

// Limits are set by a statement for the transaction only: poolers drop or refuse startup options, and leak session settings to
// other clients.
const READ_LIMITS = "select set_config('statement_timeout', $1, true)"
// A writer that waited for a lock must see what its holder wrote, so it needs read committed. PostgreSQL refuses to change the
// level here if the database's default differs, and the transaction is then sent in another way.
const WRITE_LIMITS = `select set_config('statement_timeout', $1, true), set_config('lock_timeout', $2, true),
  set_config('transaction_isolation', 'read committed', true), set_config('${CAUSE_SETTING}', $3, true),
  case when current_setting('server_version_num')::int >= 170000 then set_config('transaction_timeout', $4, true) end`
// If this process is paused in the middle of sending a transaction, PostgreSQL 17 or newer ends the transaction.
const TRANSACTION_MS = 5_000
const OTHER_ISOLATION = '25001'

// "prepared statement does not exist" and "already exists": the pooler used another server connection than last time.
const NOT_PREPARED: ReadonlySet<string | undefined> = new Set(['26000', '42P05'])
// Conflicts, a lock timeout, and errors after which the transaction is sent in another way.
const STAYS_USABLE: ReadonlySet<string | undefined> = new Set([
  '40001',
  '40P01',
  '55P03',
  OTHER_ISOLATION,
  ...NOT_PREPARED,
])

/** @throws TypeError without one, because pg would connect to whatever runs on this machine. */
export function assertConnectionString(connectionString: unknown): void {
  if (typeof connectionString === 'string' && connectionString !== '') return
  throw new TypeError('connectionString: expected postgres://user:password@host:5432/database (DATABASE_URL)')
}

/** Connections to one database for the tables of one schema. Each statement runs within time limits of its own transaction. */
export class Pool implements Executor {
  readonly schema: string
  readonly #pool: pg.Pool
  readonly #limits: { statementMs: number; lockMs: number; answerMs: number }
  #keepsPrepared: boolean
  #isReadCommitted = true

  constructor(options: PoolOptions) {
    assertConnectionString(options.connectionString)
    this.schema = plain(options.schema ?? DEFAULT_SCHEMA)
    this.#keepsPrepared = !options.transactionPooling
    this.#limits = {
      statementMs: options.statementTimeoutMs ?? 3_000,
      // Longer than PostgreSQL's deadlock_timeout of 1 s, so that a deadlock is detected first, and retried.
      lockMs: options.lockTimeoutMs ?? 1_500,
      answerMs: options.queryTimeoutMs ?? 3_500,
    }
    this.#pool = new pg.Pool({
      connectionString: options.connectionString,
      max: options.max ?? 10,
      application_name: options.applicationName ?? 'clerk-session-sync',
      connectionTimeoutMillis: options.connectTimeoutMs ?? 2_000,
      idleTimeoutMillis: 30_000,
      keepAlive: true,
    })
    // On each connection, because the pool reports only idle ones. Between checkout and release the query fails as well.
    this.#pool.on('connect', (client) => client.on('error', options.onError))
    // Ignored, because it repeats the error with the whole connection attached, including the key that cancels its queries.
    this.#pool.on('error', (error: Error & { client?: unknown }) => {
      delete error.client
    })
  }

  /** The connections, and the callers that wait for one. */
  get counts(): { total: number; idle: number; waiting: number } {
    return { total: this.#pool.totalCount, idle: this.#pool.idleCount, waiting: this.#pool.waitingCount }
  }

  /**
   * Runs one statement in its own transaction. Conflicts are retried; they occur in single statements too if
   * `default_transaction_isolation` is above "read committed".
   */
  async query({ name, label = name, text, values }: Prepared): Promise<{ rows: unknown[] }> {
    const limits = sent('read_limits', READ_LIMITS, [String(this.#limits.statementMs)])
    const statement = { name, text, values, label, hasRows: true }
    const [rows] = await retryConflicts(() => this.#send([limits], [statement], this.#limits.answerMs))
    return { rows: rows as unknown[] }
  }

  /**
   * Runs the calls in one transaction and one round trip, and fills their rows after the commit. Conflicts with other transactions
   * are retried, each time after a longer random pause.
   */
  async transact(
    calls: Call[],
    { lockTimeoutMs = this.#limits.lockMs, onRetry, cause = '', onChange, reads = [] }: TransactOptions = {},
  ): Promise<void> {
    // While a transaction waits for `onChange`, that has time limits of its own.
    const transactionMs = onChange ? 0 : TRANSACTION_MS
    const values = [String(this.#limits.statementMs), String(lockTimeoutMs), cause, String(transactionMs)]
    const limits = sent('write_limits', WRITE_LIMITS, values)
    const prepared = ({ statement, values }: Call, readsOwnWrites: boolean) => ({
      ...statement.prepare(this.schema),
      values,
      label: statement.statementName,
      hasRows: true,
      readsOwnWrites,
    })
    const statements = [...calls.map((call) => prepared(call, false)), ...reads.map((call) => prepared(call, true))]
    const send = () =>
      onChange ? this.#sendAndAsk(limits, statements, onChange) : this.#sendWrites(limits, statements)
    const rows = await retryConflicts(send, onRetry)
    for (const [i, call] of [...calls, ...reads].entries()) call.rows = rows[i] as unknown[]
  }

  async end(): Promise<void> {
    if (!this.#pool.ending) await this.#pool.end()
  }

  // What is sent up to one `Sync` is a transaction, which PostgreSQL itself ends: only where its isolation must be named does
  // it take a `begin`.
  async #sendWrites(limits: Sent, statements: Sent[]): Promise<unknown[][]> {
    const answerMs = this.#limits.answerMs * TRANSACTION_TIMEOUTS
    if (this.#isReadCommitted) {
      try {
        return await this.#send([limits], statements, answerMs)
      } catch (error) {
        if ((error as DatabaseError).code !== OTHER_ISOLATION) throw error
        this.#isReadCommitted = false
      }
    }
    return this.#send([BEGIN, limits], [...statements, sent('commit', 'commit', [])], answerMs)
  }

  // The one case in which a transaction waits for JavaScript: its rows are locked for a round trip more, and for the function.
  async #sendAndAsk(limits: Sent, statements: Sent[], onChange: OnChange): Promise<unknown[][]> {
    const answerMs = this.#limits.answerMs * TRANSACTION_TIMEOUTS
    return this.#send([BEGIN, limits, IDLE_LIMIT], statements, answerMs, (client) =>
      finishWith(client, this.schema, onChange),
    )
  }

  async #send(
    settings: Sent[],
    statements: Sent[],
    answerMs: number,
    finish?: (client: pg.PoolClient) => Promise<void>,
  ): Promise<unknown[][]> {
    const isPrepared = this.#keepsPrepared
    const named = (sent: Sent) => (isPrepared ? sent : { ...sent, name: '' })
    const client = await this.#pool.connect().catch(markTrouble)
    try {
      const rows = await sendTogether(client, settings.map(named), statements.map(named), answerMs)
      await finish?.(client)
      client.release()
      return rows
    } catch (error) {
      client.release(await afterFailure(client, error, settings[0]?.name === 'begin'))
      if (!isPrepared || !NOT_PREPARED.has((error as DatabaseError).code)) throw error
    }
    this.#keepsPrepared = false
    return this.#send(settings, statements, answerMs, finish)
  }
}

async function retryConflicts<T>(work: () => Promise<T>, onRetry?: () => void, attempt = 1): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (!isConflict(error) || attempt === MAX_ATTEMPTS) throw error
  }
  onRetry?.()
  await sleep(Math.random() * 20 * 2 ** attempt)
  return retryConflicts(work, onRetry, attempt + 1)
}

const sent = (name: string, text: string, values: unknown[]): Sent => ({
  name,
  text,
  values,
  label: name,
  hasRows: false,
})

const BEGIN = sent('begin', 'begin isolation level read committed', [])
// In case this process is paused while its transaction is open.
const IDLE_LIMIT = sent('idle_limit', "select set_config('idle_in_transaction_session_timeout', '5000', true)", [])

/** Resolves to the error for which the connection must be closed; undefined if it can be reused. */
async function afterFailure(client: pg.PoolClient, error: unknown, hasBegun: boolean): Promise<Error | undefined> {
  // A broken connection is closed, so that no other caller has to wait for it.
  if (isDatabaseTrouble(error) && !STAYS_USABLE.has((error as DatabaseError).code)) return error as Error
  if (error instanceof OnChangeError && error.mayBeBusy) return error
  if (!hasBegun) return undefined
  return client.query('rollback').then(
    () => undefined,
    (rollbackError: Error) => rollbackError,
  )
}

/** Creates a pool with time limits. An idle connection that breaks is reported, and does not end the process. */
export const createPool = (options: PoolOptions): Pool => new Pool(options)
