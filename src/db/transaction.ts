import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { statementTracing } from './channels.ts'
import { isConflict, isDatabaseTrouble } from './pool.ts'
import { BEGIN_SETTING, type Executor } from './statement.ts'
import type { TimedStatement } from './timed-client.ts'

const MAX_ATTEMPTS = 4

// Whatever the database's default: who waited for a lock must see what its holder wrote.
const BEGIN = `begin isolation level read committed; set local ${BEGIN_SETTING} = on`

// They count from the sending, and each statement may wait for locks of its own. No more than this, since a server may also
// stop to answer behind the `begin`, and callers hear of it within six seconds.
const FLIGHT_TIMEOUTS = 1.5

/** Work in two steps, since a trip to the database costs more than most of what it does there. */
export interface Work<Sent, Result> {
  /** Sends statements at once, together with the `begin`: none may depend on the answer to another. */
  send: (client: Executor) => Promise<Sent>
  /** Makes the result of their answers, before the commit. */
  finish: (sent: Sent, client: Executor) => Promise<Result>
}

/**
 * Runs `work` in one transaction and commits. Conflicts with other transactions (40001, 40P01) are tried
 * again, each time after a longer random pause, so `work` may run several times; `onRetry` counts them.
 */
export async function inTransaction<Sent, Result>(
  pool: pg.Pool,
  work: Work<Sent, Result>,
  onRetry: () => void,
): Promise<Result> {
  for (let attempt = 1; attempt < MAX_ATTEMPTS; attempt += 1) {
    try {
      return await runOnce(pool, work)
    } catch (error) {
      if (!isConflict(error)) throw error
    }
    onRetry()
    await sleep(Math.random() * 20 * 2 ** attempt)
  }
  return runOnce(pool, work)
}

async function runOnce<Sent, Result>(pool: pg.Pool, { send, finish }: Work<Sent, Result>): Promise<Result> {
  const client = await pool.connect()
  try {
    const begun = control(client, 'begin', BEGIN)
    const sent = send(withTimeout(client, FLIGHT_TIMEOUTS * (pool.options.query_timeout as number)))
    await inOrder([begun, sent])
    const result = await finish(await sent, client)
    assertCommitted(await control(client, 'commit'))
    client.release()
    return result
  } catch (error) {
    client.release(await rollback(client, error))
    throw error
  }
}

/**
 * Runs `work` on a connection of its own, out of a transaction: each of its statements is one. Conflicts are not tried again.
 * Unlike the pool's own `query` it closes the connection only when that is broken, not for a statement that was refused.
 */
export async function inOneStatement<Result>(
  pool: pg.Pool,
  work: (client: Executor) => Promise<Result>,
): Promise<Result> {
  const client = await pool.connect()
  try {
    const result = await work(client)
    client.release()
    return result
  } catch (error) {
    client.release(isBroken(error) ? (error as Error) : undefined)
    throw error
  }
}

/**
 * Waits for statements that were sent at once. Rejects with the first error in the order of sending: those behind it only
 * failed because of it, whoever hears of it first.
 */
export async function inOrder(statements: Promise<unknown>[]): Promise<void> {
  const failed = (await Promise.allSettled(statements)).find(({ status }) => status === 'rejected')
  if (failed) throw (failed as PromiseRejectedResult).reason
}

/** A client that gives its statements so much time. */
function withTimeout(client: pg.PoolClient, timeoutMs: number): Executor {
  return { query: (config) => client.query({ ...config, timeoutMs } as TimedStatement) }
}

function control(client: pg.PoolClient, name: string, text = name): Promise<pg.QueryResult> {
  return statementTracing.tracePromise(() => client.query(text), { name, text })
}

// COMMIT ends a transaction that has failed as well, by a rollback and without an error.
function assertCommitted({ command }: pg.QueryResult): void {
  if (command === 'COMMIT') return
  const error = new pg.DatabaseError(`the commit was answered with ${command}`, 0, 'error')
  error.code = '40000' // transaction_rollback
  throw error
}

/** Resolves to the reason why the connection must be closed instead, if there is one. */
async function rollback(client: pg.PoolClient, error: unknown): Promise<Error | undefined> {
  // A connection in trouble is closed, which rolls back as well, and cannot make anyone wait a second time.
  if (isBroken(error)) return error as Error
  return client.query('rollback').then(
    () => undefined,
    (rollbackError: Error) => rollbackError,
  )
}

const isBroken = (error: unknown) => isDatabaseTrouble(error) && !isConflict(error)
