import fp from 'fastify-plugin'
import { createBatcher } from '../db/batcher.ts'
import type { OnChange } from '../db/changes/on-change.ts'
import { isServerError } from '../db/errors.ts'
import { SchemaError } from '../db/migrate.ts'
import { assertMigrated } from '../db/migration-status.ts'
import { createPool, type PoolOptions } from '../db/pool.ts'
import { type ChangeResult, createRepository, type Repository } from '../db/repository.ts'
import type { Change } from '../domain/change.ts'
import { DatabaseUnavailable, retryAfter } from '../errors.ts'
import type { SyncedMetadata } from '../resources/user/metadata.ts'
import { batchChannel, publish } from './channels.ts'
import { callback, checkOptions, flag, number, object, optional, optionsOf, text, texts } from './check-options.ts'
import errorHeaders from './error-headers.ts'

export interface DatabaseOptions extends Omit<PoolOptions, 'onError'> {
  /** Keeps the payloads of applied webhooks too. They contain personal data. */
  storePayloads?: boolean
  /**
   * Runs in the transaction of each change in the feed, so that its writes are committed with the change or not at all. Requires
   * the change feed.
   */
  onChange?: OnChange
  /** The metadata of users to store in addition to the public metadata; none by default. */
  syncMetadata?: readonly SyncedMetadata[]
  /** The limits of parallel batches and of their queues. */
  batching?: Partial<typeof BATCHING>
}

/** The repository, where concurrent requests share statements and transactions. */
export interface BatchedRepository extends Omit<Repository, 'apply' | 'applyEach' | 'findAuthStates'> {
  /** Applies one change and answers after the commit. */
  apply(change: Change): Promise<ChangeResult>
}

declare module 'fastify' {
  interface FastifyInstance {
    /** All reads and writes of the tables go through it. */
    clerkRepository: BatchedRepository
    /** The connections of the pool, and the number of callers that wait for one. */
    clerkDatabasePool: () => { total: number; idle: number; waiting: number }
  }
}

const BATCHING = {
  // Two, so that one proceeds while the other waits for its commit or for a row lock.
  writesAtOnce: 2,
  readsAtOnce: 4,
  maxBatchSize: 256,
  // Several smaller batches: PostgreSQL works on some while the answers of others are sent. 18 % more reads at 128 connections.
  minShare: 16,
  /** The total length of the webhook payloads in a batch, in UTF-16 units. */
  maxBatchLength: 4 * 1_048_576,
  /** Beyond this number of waiting changes, or total length of their payloads in UTF-16 units, calls are answered 503. */
  maxWaiting: 10_000,
  maxWaitingLength: 32 * 1_048_576,
}

const OVERLOADED_RETRY_AFTER_MS = 1_000

const OPTIONS = optionsOf<DatabaseOptions>({
  connectionString: text('postgres://user:password@host:5432/database (DATABASE_URL)'),
  schema: optional(text('the name of a schema')),
  max: optional(number),
  applicationName: optional(text('a name')),
  transactionPooling: flag,
  connectTimeoutMs: optional(number),
  lockTimeoutMs: optional(number),
  statementTimeoutMs: optional(number),
  queryTimeoutMs: optional(number),
  storePayloads: flag,
  onChange: callback,
  syncMetadata: optional(texts('unsafe, private')),
  batching: optional(object),
})

/** Decorates the app with `clerkRepository`, which has its own pool. The database must be migrated (see `migrate`). */
export default fp<DatabaseOptions>(
  async (app, options) => {
    checkOptions('clerkDatabase', OPTIONS, options)
    const { storePayloads, syncMetadata, onChange, batching, ...poolOptions } = options
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
      // A database that answers with an error is reachable, so the other batches may still succeed.
      failsAll: (error: unknown) => !isServerError((error as Error).cause),
      overloaded: () => retryAfter(new DatabaseUnavailable(), OVERLOADED_RETRY_AFTER_MS),
    }
    const { server } = app
    const published =
      <I, O>(kind: 'read' | 'write', run: (items: I[]) => Promise<O[]>) =>
      (items: I[]) => {
        publish(batchChannel, { server, kind, size: items.length })
        return run(items)
      }
    app.decorate('clerkDatabasePool', () => pool.counts)
    app.decorate('clerkRepository', {
      ...repository,
      apply: createBatcher({
        ...common,
        name: 'write batch',
        run: published('write', repository.applyEach),
        maxConcurrent: limits.writesAtOnce,
        weightOf: ({ message }: Change) => message?.payload.length ?? 0,
        maxBatchWeight: limits.maxBatchLength,
        maxWaitingWeight: limits.maxWaitingLength,
      }),
      findAuthState: createBatcher({
        ...common,
        name: 'read batch',
        run: published('read', repository.findAuthStates),
        maxConcurrent: limits.readsAtOnce,
      }),
    })
    app.addHook('onClose', async () => pool.end())
    app.addHook('onReady', () => assertMigrated(pool).catch(onlyOfSchema))
    app.addHook('onReady', async () => {
      if (!onChange || app.hasPlugin('clerk-changes')) return
      app.log.warn(
        'onChange is called only while the change feed is on, which this app does not turn on: register clerkChanges, or pass changes: {}',
      )
    })
  },
  { name: 'clerk-database', fastify: '5.x' },
)

// If the database is unreachable, the app starts nevertheless, and answers 503 until it is back.
function onlyOfSchema(error: unknown): void {
  if (error instanceof SchemaError) throw error
}
