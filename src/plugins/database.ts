import fp from 'fastify-plugin'
import { createBatcher } from '../db/batcher.ts'
import type { OnChange } from '../db/changes/on-change.ts'
import { isServerError } from '../db/errors.ts'
import { createPool, type PoolOptions } from '../db/pool.ts'
import { type ChangeResult, createRepository, type Repository } from '../db/repository.ts'
import type { Change } from '../domain/change.ts'
import { DatabaseUnavailable, retryAfter } from '../errors.ts'
import type { AuthKey, AuthState } from '../resources/auth-state.ts'
import type { SyncedMetadata } from '../resources/user/metadata.ts'
import { batchChannel, tell } from './channels.ts'
import errorHeaders from './error-headers.ts'

export interface DatabaseOptions extends Omit<PoolOptions, 'onError'> {
  /** Keep the bodies of applied webhooks too. They hold personal data. */
  storePayloads?: boolean
  /**
   * Runs in the transaction of each change that the feed tells, so that what it writes is committed with the change or not at all.
   * It needs the change feed to be on.
   */
  onChange?: OnChange
  /** The metadata of users that are kept beside the public ones; none by default. */
  syncMetadata?: readonly SyncedMetadata[]
  /** Batches under way at once, and what may wait for them. */
  batching?: Partial<typeof BATCHING>
}

/** The repository with requests that wait at the same moment sharing statements and transactions. */
export interface BatchedRepository
  extends Omit<Repository, 'apply' | 'applyEach' | 'findAuthState' | 'findAuthStates'> {
  /** Applies one change and answers after the commit. */
  apply(change: Change): Promise<ChangeResult>
  /** The row of a user and the state of a session, never older than the call. */
  findAuthState(key: AuthKey): Promise<AuthState>
}

declare module 'fastify' {
  interface FastifyInstance {
    /** The only reader and writer of the tables. */
    clerkRepository: BatchedRepository
    /** The connections of the pool, and the callers that wait for one. */
    clerkDatabasePool: () => { total: number; idle: number; waiting: number }
  }
}

const BATCHING = {
  // Each goes on while the other waits, for its commit or for a row that somebody else has locked.
  writesAtOnce: 2,
  readsAtOnce: 4,
  maxBatchSize: 256,
  // More at once in smaller batches: PostgreSQL works on some while the answers of others go out.
  minShare: 16,
  /** Of the bodies of webhooks in a batch, together. */
  maxBatchBytes: 4 * 1_048_576,
  /** One more is answered 503, in number or in bytes of bodies. */
  maxWaiting: 10_000,
  maxWaitingBytes: 32 * 1_048_576,
}

const OVERLOADED_RETRY_AFTER_MS = 1_000

/** Decorates the app with `clerkRepository` on a pool of its own. The database must be migrated (see `migrate`). */
export default fp<DatabaseOptions>(
  async (app, { storePayloads, syncMetadata, onChange, batching, ...poolOptions }) => {
    if (!app.hasPlugin('clerk-error-headers')) await app.register(errorHeaders)
    const pool = createPool({
      ...poolOptions,
      onError: (error) => app.log.warn({ err: error }, 'a database connection broke'),
    })
    const repository = createRepository({ pool, storePayloads, syncMetadata, onChange })
    const limits = { ...BATCHING, ...batching }
    const common = {
      maxBatchSize: limits.maxBatchSize,
      minShare: limits.minShare,
      maxWaiting: limits.maxWaiting,
      // A server that answers with an error answers the next batch too.
      failsAll: (error: unknown) => !isServerError((error as Error).cause),
      overloaded: () => retryAfter(new DatabaseUnavailable(), OVERLOADED_RETRY_AFTER_MS),
    }
    const { server } = app
    const telling =
      <I, O>(kind: 'read' | 'write', run: (items: I[]) => Promise<O[]>) =>
      (items: I[]) => {
        tell(batchChannel, { server, kind, size: items.length })
        return run(items)
      }
    app.decorate('clerkDatabasePool', () => pool.counts)
    app.decorate('clerkRepository', {
      ...repository,
      apply: createBatcher({
        ...common,
        name: 'write batch',
        run: telling('write', repository.applyEach),
        maxConcurrent: limits.writesAtOnce,
        weightOf: ({ message }: Change) => message?.payload.length ?? 0,
        maxBatchWeight: limits.maxBatchBytes,
        maxWaitingWeight: limits.maxWaitingBytes,
      }),
      findAuthState: createBatcher({
        ...common,
        name: 'read batch',
        run: telling('read', repository.findAuthStates),
        maxConcurrent: limits.readsAtOnce,
      }),
    })
    app.addHook('onClose', async () => pool.end())
  },
  { name: 'clerk-database', fastify: '5.x' },
)
