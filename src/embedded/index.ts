/** Outside production, starts what is not configured: a real PostgreSQL under `.data/`, and the local Clerk emulator. */
import type { Config } from '../config.ts'
import type { ClerkEmulator, ClerkEmulatorOptions } from '../emulator/index.ts'
import { databaseName, openDatabase } from './database.ts'

export interface Embedded {
  /** The settings, completed with those of the embedded parts. */
  config: Config
  /** The emulator, if no Clerk instance is configured. */
  emulator?: ClerkEmulator
  /** Stops the embedded parts. */
  stop(): Promise<void>
}

export const DATA_DIRECTORY = '.data/postgres'

/** The origins whose pages may use the development tools: the service's own, and those in the settings. */
export const ownOrigins = ({ PORT, CORS_ORIGINS }: Pick<Config, 'PORT' | 'CORS_ORIGINS'>): string[] => [
  `http://127.0.0.1:${PORT}`,
  `http://localhost:${PORT}`,
  ...CORS_ORIGINS,
]

export interface EmbedOptions {
  /** Start with an empty database. */
  isReset?: boolean
  /** Called with a description of each part that is being started. */
  onProgress?: (line: string) => void
}

/** Starts what is not configured. In production nothing is started, because a missing setting is an error there. */
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
