/** The connections of a job: apart from those that serve requests, with time for long reads. */
import type pg from 'pg'
import { withJobLock } from '../db/job-lock.ts'
import { createPool, type PoolOptions } from '../db/pool.ts'
import { createRepository, type Repository } from '../db/repository.ts'
import type { Executor } from '../db/statement.ts'

export interface JobDatabaseOptions
  extends Pick<PoolOptions, 'connectionString' | 'schema' | 'transactionPooling' | 'max' | 'connectTimeoutMs'> {
  /** Keep the bodies of applied webhooks too. */
  storePayloads?: boolean
  applicationName: string
  onError: (error: Error) => void
}

export interface JobDatabase {
  pool: pg.Pool
  repository: Repository
  /**
   * Runs `work` on a connection of its own, unless another process that shares the database is at this job (undefined then).
   * @param waitMs how long the other process may take to give it up
   */
  whenAlone<T>(
    job: string,
    work: (executor: Executor) => Promise<T>,
    waitMs?: number,
  ): Promise<{ result: T } | undefined>
  end(): Promise<void>
}

const STATEMENT_TIMEOUT_MS = 60_000

export function createJobDatabase({ storePayloads, ...options }: JobDatabaseOptions): JobDatabase {
  const pool = createPool({
    ...options,
    statementTimeoutMs: STATEMENT_TIMEOUT_MS,
    queryTimeoutMs: STATEMENT_TIMEOUT_MS + 5_000,
  })
  const { transactionPooling } = options
  return {
    pool,
    repository: createRepository({ pool, storePayloads }),
    whenAlone: (job, work, waitMs = 0) => withJobLock(pool, job, work, { waitMs, transactionPooling }),
    end: () => pool.end(),
  }
}
