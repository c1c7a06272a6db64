import fp from 'fastify-plugin'
import { ClerkUnavailable } from '../clerk/api-errors.ts'
import { type BackendApiOptions, createBackendApi } from '../clerk/backend-api.ts'
import { isDatabaseTrouble } from '../db/errors.ts'
import { createPool } from '../db/pool.ts'
import { checkIdentity } from '../jobs/identity.ts'
import { backendApi, checkOptions, flag, object, optional, optionsOf, text } from './check-options.ts'
import type { DatabaseOptions } from './database.ts'

export interface IdentityOptions {
  database: DatabaseOptions
  backendApi: Pick<BackendApiOptions, 'secretKey' | 'apiUrl' | 'dispatcher'>
  issuer: string
  jwtKey?: string
  /** Whether a mismatch makes the start fail; otherwise it is logged as an error, and jobs refuse to run. */
  isStrict: boolean
}

const DEADLINE_MS = 3_000
const OPTIONS = optionsOf<IdentityOptions>({
  database: object,
  backendApi,
  issuer: text("Clerk's Frontend API URL"),
  jwtKey: optional(text('a PEM public key')),
  isStrict: flag,
})

/**
 * Checks before anything is served that secret key, issuer and database belong to the same Clerk instance. If Clerk is
 * unreachable, the service starts anyway: jobs check again before their first write.
 */
export default fp<IdentityOptions>(
  async (app, options) => {
    checkOptions('identity', OPTIONS, options)
    const { database, issuer, jwtKey, isStrict } = options
    const { connectionString, schema, transactionPooling } = database
    const pool = createPool({
      connectionString,
      schema,
      transactionPooling,
      max: 1,
      onError: (error) => app.log.warn({ err: error }, 'a database connection broke'),
    })
    const api = createBackendApi({ ...options.backendApi, maxAttempts: 1, deadlineMs: DEADLINE_MS })
    // Uses the keys of the key store, without another fetch.
    const findKey = app.clerkFindKey

    async function check(): Promise<void> {
      try {
        const onWarning = (message: string) => app.log.warn(message)
        await checkIdentity({ api, executor: pool, issuer, jwtKey, findKey, onWarning })
      } catch (error) {
        if (error instanceof ClerkUnavailable || isDatabaseTrouble(error)) {
          app.log.warn(
            { err: error },
            'could not check whether settings and database belong to the same Clerk instance',
          )
        } else if (isStrict) throw error
        else
          app.log.error({ err: error }, 'the settings belong to different Clerk instances, or the secret key is wrong')
      }
    }
    app.addHook('onReady', check)
    app.addHook('onClose', async () => pool.end())
  },
  { name: 'clerk-identity', fastify: '5.x', dependencies: ['clerk-auth'] },
)
