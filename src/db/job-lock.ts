/** One process at a time for a job, of all that share a database. */
import { setTimeout as sleep } from 'node:timers/promises'
import { sql } from 'drizzle-orm'
import type pg from 'pg'
import { $, type Executor, statement } from './statement.ts'

// Of the job and the schema: services beside each other in one database do not wait for each other.
const LOCK = sql`hashtext('clerk-session-sync ' || ${$(1)}::text), hashtext(current_schema())`
const tryLock = {
  session: statement<{ locked: boolean }>('job_lock', sql`select pg_try_advisory_lock(${LOCK}) as locked`),
  transaction: statement<{ locked: boolean }>(
    'job_xact_lock',
    sql`select pg_try_advisory_xact_lock(${LOCK}) as locked`,
  ),
}

const RETRY_MS = 100

export interface JobLockOptions {
  /** How long somebody else may take to give it up; none unless told. */
  waitMs?: number
  /** Whether a pooler in transaction mode stands in front of PostgreSQL. */
  transactionPooling?: boolean
}

/**
 * Runs a job on a connection of its own that holds the job's lock; closing it gives the lock up, whatever happens. Undefined
 * when somebody else is at it. A pooler in transaction mode keeps a connection for as long as a transaction: there, the lock
 * and what the job does on its connection are of one.
 */
export async function withJobLock<T>(
  pool: pg.Pool,
  job: string,
  work: (executor: Executor) => Promise<T>,
  { waitMs = 0, transactionPooling = false }: JobLockOptions = {},
): Promise<{ result: T } | undefined> {
  const client = await pool.connect()
  try {
    const lock = transactionPooling ? tryLock.transaction : tryLock.session
    if (transactionPooling) await client.query('begin')
    const giveUpAt = performance.now() + waitMs
    while (!(await lock(client, job))[0]?.locked) {
      if (performance.now() >= giveUpAt) return undefined
      await sleep(RETRY_MS)
    }
    return { result: await work(client) }
  } finally {
    client.release(true)
  }
}
