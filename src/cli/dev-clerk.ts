/** What `npm run dev` does with a real Clerk instance: two keys are enough, and no public URL is needed. */
import { ClerkUnavailable } from '../clerk/api-errors.ts'
import { type BackendApi, createBackendApi } from '../clerk/backend-api.ts'
import type { Config } from '../config.ts'
import { migrate } from '../db/migrate.ts'
import { findState } from '../db/sync-state.ts'
import { BACKFILL_JOB, backfill } from '../jobs/backfill.ts'
import type { JobDatabase } from '../jobs/database.ts'
import { checkIdentity } from '../jobs/identity.ts'
import { measureUsers } from '../resources/user/drift.ts'
import { withDatabase } from './context.ts'
import { bar, count, createOutput } from './output.ts'

/**
 * Checks that keys and database belong together, and copies all users if the table is empty. Resolves to the lines to show.
 * Rejects if a key is wrong, and names it; if Clerk is unreachable, a line says so.
 */
export async function prepareClerk(config: Config, signal: AbortSignal): Promise<string[]> {
  await migrate(config.DATABASE_URL as string, { schema: config.DATABASE_SCHEMA })
  const api = createBackendApi({
    secretKey: config.CLERK_SECRET_KEY as string,
    apiUrl: config.CLERK_API_URL,
    signal,
    maxAttempts: 3,
  })
  return withDatabase({ config }, async (database) => {
    try {
      return await prepare(config, api, database, signal)
    } catch (error) {
      if (!(error instanceof ClerkUnavailable)) throw error
      return [`Clerk           unreachable (${error.reason}): users are synced as soon as it answers`]
    }
  })
}

async function prepare(config: Config, api: BackendApi, database: JobDatabase, signal: AbortSignal): Promise<string[]> {
  const { CLERK_ISSUER: issuer = '', CLERK_JWT_KEY: jwtKey } = config
  const output = createOutput({ isJson: false, stdout: process.stdout, stderr: process.stderr })
  const onWarning = (message: string) => output.note(`  ${message}`)
  await checkIdentity({ api, executor: database.pool, issuer, jwtKey, onWarning })
  const instance = await api.findInstance()
  const total = await api.countUsers()
  const { living } = await measureUsers(database.pool)
  if (living === 0 || (await findState(database.pool, BACKFILL_JOB))) {
    const onPage = ({ users, resumedAfter }: { users: number; resumedAfter: number }) =>
      output.progress(`  copying users: ${bar(users + resumedAfter, total)}`)
    await backfill({ database, api, signal, onPage })
  }
  const here = (await measureUsers(database.pool)).living
  const keys = (await api.findKeys()) ?? []
  return [
    `Clerk instance  ${instance ? `${instance.id} (${instance.environmentType})` : 'unknown'}, ${issuer}`,
    `users           ${count(total)} at Clerk, ${count(here)} here`,
    `signing keys    ${jwtKey ? 'CLERK_JWT_KEY' : `${keys.length}, fetched from the issuer`}`,
    `webhooks        ${describeWebhooks(config)}`,
  ]
}

function describeWebhooks({ CLERK_WEBHOOK_SIGNING_SECRET, CATCH_UP_INTERVAL_SECONDS, PORT }: Config): string {
  if (CLERK_WEBHOOK_SIGNING_SECRET.length > 0) return 'on: CLERK_WEBHOOK_SIGNING_SECRET is set'
  const instead =
    CATCH_UP_INTERVAL_SECONDS > 0
      ? `Clerk is asked every ${CATCH_UP_INTERVAL_SECONDS} s what changed`
      : 'and catch-up is off too'
  return `off, ${instead}. To turn them on: clerk webhooks listen --forward-to http://127.0.0.1:${PORT}/clerk, and CLERK_WEBHOOK_SIGNING_SECRET`
}
