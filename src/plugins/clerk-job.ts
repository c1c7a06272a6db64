/** Runs a job that compares the tables with Clerk at every interval, on one replica at a time, until the app closes. */
import type { FastifyInstance } from 'fastify'
import { type BackendApi, type BackendApiOptions, createBackendApi } from '../clerk/backend-api.ts'
import type { Executor } from '../db/statement.ts'
import { createJobDatabase, type JobDatabase } from '../jobs/database.ts'
import { checkIdentity } from '../jobs/identity.ts'
import { backendApi, number, object, optional, text } from './check-options.ts'
import type { DatabaseOptions } from './database.ts'

export interface ClerkJobOptions {
  database: DatabaseOptions
  backendApi: Pick<BackendApiOptions, 'secretKey' | 'apiUrl' | 'dispatcher'>
  /** The issuer, whose signing keys must be those of the secret key's instance. */
  issuer?: string
  jwtKey?: string
  intervalMs: number
}

export const JOB_OPTIONS = {
  database: object,
  backendApi,
  issuer: optional(text("Clerk's Frontend API URL")),
  jwtKey: optional(text('a PEM public key')),
  intervalMs: number,
}

/** What a run of the job needs. It must end when the signal aborts. */
export interface ClerkJobTools {
  database: JobDatabase
  api: BackendApi
  signal: AbortSignal
  checkIdentity: (executor: Executor) => Promise<void>
  /** A run is skipped if another replica began one within this time. */
  notWithinMs: number
}

// Timers drift, so a run that is due in a moment counts as due.
const ALMOST = 0.9

/**
 * Uses a separate pool, so that it takes no connections from requests. A failed run is logged, and the next one starts as
 * scheduled.
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
