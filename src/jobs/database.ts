/** A connection pool for jobs, separate from that of requests, with longer time limits. */
import type { OnChange } from '../db/changes/on-change.ts'
import { withLease } from '../db/lease.ts'
import { createPool, type Pool, type PoolOptions } from '../db/pool.ts'
import { createRepository, type Repository, type RepositoryOptions } from '../db/repository.ts'

export interface JobDatabaseOptions
  extends Pick<PoolOptions, 'connectionString' | 'schema' | 'transactionPooling' | 'max' | 'connectTimeoutMs'> {
  /** Keeps the payloads of applied webhooks too. */
  storePayloads?: boolean
  /** The cause of row changes for the change feed; by default derived from each change. */
  cause?: string
  onChange?: OnChange
  syncMetadata?: RepositoryOptions['syncMetadata']
  applicationName: string
  onError: (error: Error) => void
}

export interface JobDatabase {
  pool: Pool
  repository: Repository
  /**
   * Runs `work` unless another process on this database runs the same job; undefined then. It must end when its signal aborts,
   * because another process has taken over.
   * @param waitMs how long to wait for the other process to finish, or for its lease to expire
   */
  whenAlone<T>(
    job: string,
    work: (signal: AbortSignal) => Promise<T>,
    waitMs?: number,
  ): Promise<{ result: T } | undefined>
  end(): Promise<void>
}

const STATEMENT_TIMEOUT_MS = 60_000

export function createJobDatabase({
  storePayloads,
  syncMetadata,
  cause,
  onChange,
  ...options
}: JobDatabaseOptions): JobDatabase {
  const pool = createPool({
    ...options,
    statementTimeoutMs: STATEMENT_TIMEOUT_MS,
    queryTimeoutMs: STATEMENT_TIMEOUT_MS + 5_000,
  })
  return {
    pool,
    repository: createRepository({ pool, storePayloads, syncMetadata, cause, onChange }),
    whenAlone: (job, work, waitMs = 0) => withLease(pool, job, work, { waitMs }),
    end: () => pool.end(),
  }
}
