/** A job that compares with Clerk at every interval, on one replica at a time, as long as the app runs. */
import type { FastifyInstance } from 'fastify'
import { type BackendApi, type BackendApiOptions, createBackendApi } from '../clerk/backend-api.ts'
import type { Executor } from '../db/statement.ts'
import { createJobDatabase, type JobDatabase } from '../jobs/database.ts'
import { checkIdentity } from '../jobs/identity.ts'
import type { DatabaseOptions } from './database.ts'

export interface ClerkJobOptions {
  database: DatabaseOptions
  backendApi: Pick<BackendApiOptions, 'secretKey' | 'apiUrl' | 'dispatcher'>
  /** Whose keys those of the secret key's instance must meet. */
  issuer?: string
  jwtKey?: string
  intervalMs: number
}

/** What a run of the job works with. It ends when the signal aborts. */
export interface ClerkJobTools {
  database: JobDatabase
  api: BackendApi
  signal: AbortSignal
  checkIdentity: (executor: Executor) => Promise<void>
  /** Whether another replica has done it just now. */
  notWithinMs: number
}

// Timers drift: a run that is due in a moment is due.
const ALMOST = 0.9

/**
 * Runs it on connections of its own, so that it takes none from requests. A run that fails is in the log, and the next one
 * comes all the same.
 * @param name of the job, in the log and in PostgreSQL
 */
export function repeat(
  app: FastifyInstance,
  name: string,
  { database: options, backendApi, issuer, jwtKey, intervalMs }: ClerkJobOptions,
  run: (tools: ClerkJobTools) => Promise<void>,
  { startsAtOnce }: { startsAtOnce: boolean },
): void {
  const stop = new AbortController()
  const { signal } = stop
  const { connectionString, schema, transactionPooling, syncMetadata, onChange } = options
  const database = createJobDatabase({
    connectionString,
    schema,
    transactionPooling,
    onChange,
    syncMetadata,
    max: 2,
    applicationName: `clerk-session-sync ${name}`,
    onError: (error) => app.log.warn({ err: error }, `a database connection of the ${name} broke`),
  })
  const api = createBackendApi({ ...backendApi, signal })
  const tools: ClerkJobTools = {
    database,
    api,
    signal,
    checkIdentity: (executor) => checkIdentity({ api, executor, issuer, jwtKey }),
    notWithinMs: intervalMs * ALMOST,
  }
  let timer: NodeJS.Timeout | undefined
  let underWay: Promise<unknown> | undefined
  const start = () => {
    underWay ??= run(tools)
      .catch((error) => {
        if (!signal.aborted) app.log.warn({ err: error }, `the ${name} with Clerk failed`)
      })
      .finally(() => {
        underWay = undefined
      })
  }
  app.addHook('onReady', async () => {
    if (startsAtOnce) start()
    timer = setInterval(start, intervalMs).unref()
  })
  app.addHook('onClose', async () => {
    clearInterval(timer)
    stop.abort()
    await underWay
    await database.end()
  })
}
