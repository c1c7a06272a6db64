/** What the commands share: settings, database connections, the Backend API and the abort signal. */
import { type BackendApi, type BackendApiOptions, createBackendApi } from '../clerk/backend-api.ts'
import type { Config } from '../config.ts'
import { LEASE_TTL_MS } from '../db/lease.ts'
import type { Executor } from '../db/statement.ts'
import { createJobDatabase, type JobDatabase, type JobDatabaseOptions } from '../jobs/database.ts'
import { checkIdentity } from '../jobs/identity.ts'
import type { Output } from './output.ts'

export const EXIT_DONE = 0
export const EXIT_FAILED = 1
export const EXIT_WRONG_USAGE = 2
export const EXIT_INTERRUPTED = 130

export interface Context {
  config: Config
  output: Output
  /** Aborts at the first Ctrl-C or SIGTERM; a second one ends the process at once. */
  signal: AbortSignal
  /** Opens standard input, for commands that read it. */
  stdin: () => AsyncIterable<Buffer | string>
}

// Long enough for the lease of a killed process to expire.
export const LOCK_WAIT_MS = LEASE_TTL_MS + 1_000
const CONNECTIONS = 4

const ignore = Function.prototype as (error: Error) => void

/** Runs `work` on a separate pool of connections, and closes them afterwards. */
export async function withDatabase<T>(
  { config }: Pick<Context, 'config'>,
  work: (database: JobDatabase) => Promise<T>,
  { cause }: Pick<JobDatabaseOptions, 'cause'> = {},
) {
  const database = createJobDatabase({
    connectionString: config.DATABASE_URL as string,
    schema: config.DATABASE_SCHEMA,
    transactionPooling: config.DATABASE_TRANSACTION_POOLING,
    storePayloads: config.WEBHOOK_STORE_PAYLOADS,
    cause,
    syncMetadata: config.SYNC_METADATA,
    max: CONNECTIONS,
    applicationName: 'clerk-session-sync cli',
    connectTimeoutMs: 5_000,
    onError: ignore, // The running query rejects as well.
  })
  try {
    return await work(database)
  } finally {
    await database.end()
  }
}

/** Makes a callback that reports each retry. */
export const noteRetry = (output: Output, who: string) => (reason: string, waitMs: number) =>
  output.note(`${who}: ${reason}, trying again in ${(waitMs / 1_000).toFixed(1)} s`)

/** Creates a Backend API client from the settings, which reports its retries. */
export function createApi({ config, output, signal }: Context, options: Partial<BackendApiOptions> = {}): BackendApi {
  return createBackendApi({
    secretKey: config.CLERK_SECRET_KEY as string,
    apiUrl: config.CLERK_API_URL,
    signal,
    onRetry: noteRetry(output, `Clerk's Backend API (${config.CLERK_API_URL})`),
    ...options,
  })
}

/** Makes the identity check that a job runs before its first write. */
export function identityCheck(
  context: Context,
  options: Partial<BackendApiOptions> = {},
): (executor: Executor) => Promise<void> {
  const { config, output } = context
  // A separate client, so that its requests do not count as the command's.
  const api = createApi(context, options)
  const settings = { api, issuer: config.CLERK_ISSUER, jwtKey: config.CLERK_JWT_KEY }
  return (executor) => checkIdentity({ ...settings, executor, onWarning: (message) => output.note(message) })
}

/** A signal that aborts at the first Ctrl-C or SIGTERM. The second one exits at once. */
export function onInterrupt(output: Output): AbortSignal {
  const controller = new AbortController()
  for (const name of ['SIGINT', 'SIGTERM'] as const) {
    process.on(name, () => {
      if (controller.signal.aborted) process.exit(EXIT_INTERRUPTED)
      controller.abort(new Error('interrupted'))
      output.note('stopping after the current step; press Ctrl-C again to stop at once')
    })
  }
  return controller.signal
}
