/** The connections of a job: apart from those that serve requests, with time for long reads. */
import type { OnChange } from '../db/changes/on-change.ts'
import { withLease } from '../db/lease.ts'
import { createPool, type Pool, type PoolOptions } from '../db/pool.ts'
import { createRepository, type Repository, type RepositoryOptions } from '../db/repository.ts'

export interface JobDatabaseOptions
  extends Pick<PoolOptions, 'connectionString' | 'schema' | 'transactionPooling' | 'max' | 'connectTimeoutMs'> {
  /** Keep the bodies of applied webhooks too. */
  storePayloads?: boolean
  /** Why rows change, for the change feed; by default what each change says of itself. */
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
   * Runs `work`, unless another process that shares the database is at this job (undefined then). It must end when its signal
   * aborts: another process has taken over.
   * @param waitMs how long the other process may take to give it up, or to be taken for dead
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
