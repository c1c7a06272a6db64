/** What the commands work with: the settings, the database, Clerk, and the wish to stop. */
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
  /** Aborts at the first Ctrl-C or SIGTERM; the second ends the process at once. */
  signal: AbortSignal
  /** What comes by stdin, for who asks. */
  stdin: () => AsyncIterable<Buffer | string>
}

// The lease of a process that was killed ends by then.
export const LOCK_WAIT_MS = LEASE_TTL_MS + 1_000
const CONNECTIONS = 4

const ignore = Function.prototype as (error: Error) => void

/** Runs a command's work on connections of its own. */
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
    onError: ignore, // The query under way rejects as well.
  })
  try {
    return await work(database)
  } finally {
    await database.end()
  }
}

/** Says what will be tried again. */
export const noteRetry = (output: Output, who: string) => (reason: string, waitMs: number) =>
  output.note(`${who}: ${reason}, trying again in ${Math.round(waitMs)} ms`)

/** Clerk's Backend API by the settings; what is tried again is said. */
export function createApi({ config, output, signal }: Context, options: Partial<BackendApiOptions> = {}): BackendApi {
  return createBackendApi({
    secretKey: config.CLERK_SECRET_KEY as string,
    apiUrl: config.CLERK_API_URL,
    signal,
    onRetry: noteRetry(output, 'Clerk'),
    ...options,
  })
}

/** Makes the check that a job makes before its first write. */
export function identityCheck(context: Context): (executor: Executor) => Promise<void> {
  const { config, output } = context
  // A client of its own: a command counts its own requests.
  const api = createApi(context)
  const settings = { api, issuer: config.CLERK_ISSUER, jwtKey: config.CLERK_JWT_KEY }
  return (executor) => checkIdentity({ ...settings, executor, onWarning: (message) => output.note(message) })
}

/** The first Ctrl-C or SIGTERM asks to stop, the second insists. */
export function onInterrupt(output: Output): AbortSignal {
  const controller = new AbortController()
  for (const name of ['SIGINT', 'SIGTERM'] as const) {
    process.on(name, () => {
      if (controller.signal.aborted) process.exit(EXIT_INTERRUPTED)
      controller.abort(new Error('interrupted'))
      output.note('stopping when what is under way is done; once more to stop at once')
    })
  }
  return controller.signal
}
