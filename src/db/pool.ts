/** Connections with limits: nothing that PostgreSQL does, or fails to do, may keep a request waiting for ever. */
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
  /** Connections at most, 10 by default. */
  max?: number
  applicationName?: string
  /**
   * Whether a pooler in front of PostgreSQL keeps no prepared statements (PgBouncer before 1.21 in transaction mode). The pool
   * finds out by itself, at the price of one statement that is sent again.
   */
  transactionPooling?: boolean
  /** How long to wait for a free or new connection. */
  connectTimeoutMs?: number
  /** When PostgreSQL gives up waiting for a row that somebody else has locked. */
  lockTimeoutMs?: number
  /** When PostgreSQL itself gives a statement up. */
  statementTimeoutMs?: number
  /** When we give a statement up, because PostgreSQL does not even say that it did. */
  queryTimeoutMs?: number
  /** A connection broke, idle or not; the pool drops it. */
  onError: (error: Error) => void
}

export interface TransactOptions {
  /** Another limit than that of the pool. */
  lockTimeoutMs?: number
  /** Another transaction was in the way (40001, 40P01), and this one is tried again. */
  onRetry?: () => void
  /** Why the rows change, for the change feed (see changes/trigger-sql.ts). */
  cause?: string
  /** Is called within the transaction, which waits for it. */
  onChange?: OnChange
}

const MAX_ATTEMPTS = 4
// Callers hear within six seconds: of a transaction, whose statements may each wait, a little later than of one statement.
const TRANSACTION_TIMEOUTS = 1.5

// Limits are set by statement, for the transaction alone: poolers drop or refuse what is set at the start of a connection, and
// hand what is set for a session on to others.
const READ_LIMITS = "select set_config('statement_timeout', $1, true)"
// Who waited for a lock must see what its holder wrote. It is too late to change the isolation level here, so PostgreSQL refuses
// this where the database's default is another one.
const WRITE_LIMITS = `select set_config('statement_timeout', $1, true), set_config('lock_timeout', $2, true),
  set_config('transaction_isolation', 'read committed', true), set_config('${CAUSE_SETTING}', $3, true),
  case when current_setting('server_version_num')::int >= 170000 then set_config('transaction_timeout', $4, true) end`
// A process that is stopped amid the last messages of a transaction has executed a part of it: PostgreSQL ends that, since 17.
const TRANSACTION_MS = 5_000
const OTHER_ISOLATION = '25001'

// "prepared statement does not exist" and "already exists": the pooler gave us another connection than the last time.
const NOT_PREPARED: ReadonlySet<string | undefined> = new Set(['26000', '42P05'])
// Conflicts, a lock that was not had, and what makes us send a transaction in another way.
const STAYS_USABLE: ReadonlySet<string | undefined> = new Set([
  '40001',
  '40P01',
  '55P03',
  OTHER_ISOLATION,
  ...NOT_PREPARED,
])

/** Connections to one database for the tables of one schema. Each statement runs within time limits of its own transaction. */
export class Pool implements Executor {
  readonly schema: string
  readonly #pool: pg.Pool
  readonly #limits: { statementMs: number; lockMs: number; answerMs: number }
  #keepsPrepared: boolean
  #isReadCommitted = true

  constructor(options: PoolOptions) {
    this.schema = plain(options.schema ?? DEFAULT_SCHEMA)
    this.#keepsPrepared = !options.transactionPooling
    this.#limits = {
      statementMs: options.statementTimeoutMs ?? 3_000,
      // Longer than PostgreSQL's deadlock_timeout of 1 s: a deadlock is found first, and tried again.
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
    // Of each connection itself, since the pool tells of idle ones alone. Between checkout and release the query fails as well.
    this.#pool.on('connect', (client) => client.on('error', options.onError))
    // The same error again, with the whole connection attached: its addresses, and the key that cancels its queries.
    this.#pool.on('error', (error: Error & { client?: unknown }) => {
      delete error.client
    })
  }

  /** The connections, and the callers that wait for one. */
  get counts(): { total: number; idle: number; waiting: number } {
    return { total: this.#pool.totalCount, idle: this.#pool.idleCount, waiting: this.#pool.waitingCount }
  }

  /**
   * Runs one statement, which is a transaction of its own; conflicts are tried again, which a database with
   * `default_transaction_isolation` above "read committed" has in single statements, too.
   */
  async query({ name, label = name, text, values }: Prepared): Promise<{ rows: unknown[] }> {
    const limits = sent('read_limits', READ_LIMITS, [String(this.#limits.statementMs)])
    const statement = { name, text, values, label, hasRows: true }
    const [rows] = await retryConflicts(() => this.#send([limits], [statement], this.#limits.answerMs))
    return { rows: rows as unknown[] }
  }

  /**
   * Runs the calls in one transaction and one round trip, and fills their rows after the commit. Conflicts with other
   * transactions are tried again, each time after a longer random pause.
   */
  async transact(
    calls: Call[],
    { lockTimeoutMs = this.#limits.lockMs, onRetry, cause = '', onChange }: TransactOptions = {},
  ): Promise<void> {
    // While a transaction waits for `onChange`, that has time limits of its own.
    const transactionMs = onChange ? 0 : TRANSACTION_MS
    const values = [String(this.#limits.statementMs), String(lockTimeoutMs), cause, String(transactionMs)]
    const limits = sent('write_limits', WRITE_LIMITS, values)
    const statements = calls.map(({ statement, values }) => ({
      ...statement.prepare(this.schema),
      values,
      label: statement.statementName,
      hasRows: true,
    }))
    const send = () =>
      onChange ? this.#sendAndAsk(limits, statements, onChange) : this.#sendWrites(limits, statements)
    const rows = await retryConflicts(send, onRetry)
    for (const [i, call] of calls.entries()) call.rows = rows[i] as unknown[]
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

async function retryConflicts<T>(work: () => Promise<T>, onRetry?: () => void): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await work()
    } catch (error) {
      if (!isConflict(error) || attempt === MAX_ATTEMPTS) throw error
    }
    onRetry?.()
    await sleep(Math.random() * 20 * 2 ** attempt)
  }
}

const sent = (name: string, text: string, values: unknown[]): Sent => ({
  name,
  text,
  values,
  label: name,
  hasRows: false,
})

const BEGIN = sent('begin', 'begin isolation level read committed', [])
// Should this process be stopped while its transaction waits for it.
const IDLE_LIMIT = sent('idle_limit', "select set_config('idle_in_transaction_session_timeout', '5000', true)", [])

/** Resolves to the reason why the connection must be closed, if there is one. */
async function afterFailure(client: pg.PoolClient, error: unknown, hasBegun: boolean): Promise<Error | undefined> {
  // A connection in trouble is closed, and cannot make anyone wait a second time.
  if (isDatabaseTrouble(error) && !STAYS_USABLE.has((error as DatabaseError).code)) return error as Error
  if (error instanceof OnChangeError && error.mayBeBusy) return error
  if (!hasBegun) return undefined
  return client.query('rollback').then(
    () => undefined,
    (rollbackError: Error) => rollbackError,
  )
}

/** A pool with time limits. An idle connection that breaks is reported, and never ends the process. */
export const createPool = (options: PoolOptions): Pool => new Pool(options)
