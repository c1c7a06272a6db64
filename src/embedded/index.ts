/** Outside production, what is not set is embedded: a real PostgreSQL under `.data/`, and the local Clerk emulator. */
import type { Config } from '../config.ts'
import type { ClerkEmulator, ClerkEmulatorOptions } from '../emulator/index.ts'
import { databaseName, openDatabase } from './database.ts'

export interface Embedded {
  /** The settings with what was embedded filled in. */
  config: Config
  /** The emulator, when no Clerk instance is set. */
  emulator?: ClerkEmulator
  /** Stops what was started here. */
  stop(): Promise<void>
}

export const DATA_DIRECTORY = '.data/postgres'

/** The origins whose pages may use the tools of development: the service's own, and those that the settings name. */
export const ownOrigins = ({ PORT, CORS_ORIGINS }: Pick<Config, 'PORT' | 'CORS_ORIGINS'>): string[] => [
  `http://127.0.0.1:${PORT}`,
  `http://localhost:${PORT}`,
  ...CORS_ORIGINS,
]

export interface EmbedOptions {
  /** Begin with an empty database. */
  isReset?: boolean
  /** Receives what is being started. */
  onProgress?: (line: string) => void
}

/** Starts what the settings lack. In production nothing is ever started: there a missing setting is an error before. */
export async function embedMissing(
  config: Config,
  emulatorOptions?: ClerkEmulatorOptions,
  { isReset = false, onProgress = () => undefined }: EmbedOptions = {},
): Promise<Embedded> {
  if (config.isProduction) return { config, stop: async () => undefined }
  const filled: { -readonly [K in keyof Config]?: Config[K] } = {}
  const stops: (() => Promise<void>)[] = []
  let emulator: ClerkEmulator | undefined
  if (!config.DATABASE_URL) {
    onProgress(`starting PostgreSQL in ${DATA_DIRECTORY}`)
    const { startEmbeddedPostgres } = await import('./postgres.ts')
    const postgres = await startEmbeddedPostgres({ directory: DATA_DIRECTORY })
    stops.push(postgres.stop)
    filled.DATABASE_URL = await openDatabase(postgres.url, databaseName(config.CLERK_ISSUER), isReset)
  }
  if (!config.CLERK_ISSUER) {
    onProgress('starting the Clerk emulator')
    const { createClerkEmulator } = await import('../emulator/index.ts')
    emulator = await createClerkEmulator({
      webhookUrl: `http://127.0.0.1:${config.PORT}/clerk`,
      allowedOrigins: ownOrigins(config),
      rateLimit: 'clerk',
      ...emulatorOptions,
    })
    stops.push(() => (emulator as ClerkEmulator).close())
    filled.CLERK_ISSUER = emulator.issuer
    filled.CLERK_API_URL = emulator.apiUrl
    filled.CLERK_SECRET_KEY = emulator.secretKey
    filled.CLERK_WEBHOOK_SIGNING_SECRET = [emulator.webhookSecret]
  }
  return {
    config: Object.freeze({ ...config, ...filled }),
    emulator,
    async stop() {
      await Promise.all(stops.map((stop) => stop()))
    },
  }
}
