import responseValidation from '@fastify/response-validation'
import addFormats from 'ajv-formats'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Test } from 'tap'
import clerkSessionSync, { type AppOptions } from '../../src/app.ts'
import { loadConfig } from '../../src/config.ts'
import { type ClerkEmulator, type ClerkEmulatorOptions, createClerkEmulator } from '../../src/emulator/index.ts'
import limitBodies from '../../src/plugins/limits/bodies.ts'
import { appOptions, serverOptions } from '../../src/server.ts'
import { createDatabase, type TestDatabase } from './database.ts'
import { forbidInLogs, forbidInstance, keptLogger } from './run-log.ts'

export interface Service {
  app: FastifyInstance
  /** Where it listens. */
  url: string
  clerk: ClerkEmulator
  database: TestDatabase
  /** Calls a route with a bearer token; the body is parsed where there is one. */
  call(path: string, options?: CallOptions): Promise<Reply>
}

export interface CallOptions {
  token?: string
  method?: string
  headers?: Record<string, string>
  body?: string
}

export interface Reply {
  status: number
  headers: Headers
  // biome-ignore lint/suspicious/noExplicitAny: a test looks into whatever came
  body: any
}

export interface ServiceOptions {
  /** Settings as in the environment, besides those of the database and Clerk. */
  settings?: Record<string, string>
  /** Options that no setting reaches, merged into those of the settings. */
  change?: (options: AppOptions) => AppOptions
  clerk?: ClerkEmulatorOptions
  /** Gets the app before anything is registered. */
  onApp?: (app: FastifyInstance) => void
  /** Gets the app after everything is registered, before it listens. */
  onReadyToUse?: (app: FastifyInstance) => void
  /** Sets the emulator up before the service starts. */
  onEmulator?: (clerk: ClerkEmulator) => void
  /** Another replica: shares these with the service given. */
  beside?: Pick<Service, 'clerk' | 'database'>
  /** Whether the Backend API is configured; true by default. */
  hasSecretKey?: boolean
  /** Receives each line of the log, of every level. */
  log?: (line: string) => void
}

/** Options of a service that asks Clerk for a user again at once, which takes 10 s otherwise. */
export const asksEveryTime: Pick<ServiceOptions, 'change'> = {
  change: ({ userSync, ...options }) => {
    const backendApi = userSync?.backendApi && { ...userSync.backendApi, askAgainAfterMs: 0 }
    return { ...options, userSync: { ...userSync, backendApi } }
  },
}

/** The real service, listening on loopback, on a database of its own and an emulator that sends it webhooks. */
export async function startService(t: Test, options: ServiceOptions = {}): Promise<Service> {
  const { settings = {}, change = (same) => same, beside, hasSecretKey = true } = options
  const clerk = beside?.clerk ?? (await createClerkEmulator({ ...options.clerk }))
  options.onEmulator?.(clerk)
  if (!beside) forbidInstance(t, clerk)
  forbidInLogs(settings.DASHBOARD_TOKEN)
  const database = beside?.database ?? (await createDatabase(t))
  const config = loadConfig({
    NODE_ENV: 'test',
    LOG_LEVEL: 'silent',
    // It would bring what a test loses on purpose.
    CATCH_UP_INTERVAL_SECONDS: '0',
    DATABASE_URL: database.url,
    CLERK_ISSUER: clerk.issuer,
    CLERK_API_URL: clerk.apiUrl,
    CLERK_WEBHOOK_SIGNING_SECRET: clerk.webhookSecret,
    ...(hasSecretKey && { CLERK_SECRET_KEY: clerk.secretKey }),
    ...settings,
  })
  const app = Fastify({
    ...serverOptions(config),
    ...keptLogger(options.log),
  })
  options.onApp?.(app)
  // Every reply is held against its schema: what does not fit becomes a 500.
  await app.register(responseValidation, {
    ajv: { plugins: [addFormats as never], removeAdditional: false, strict: false },
  })
  await app.register(limitBodies)
  await app.register(clerkSessionSync, change(appOptions(config)))
  options.onReadyToUse?.(app)
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  if (!beside) clerk.webhooks.url = `${url}/clerk`
  t.teardown(async () => {
    if (!beside) await clerk.close()
    await app.close()
  })
  return { app, url, clerk, database, call: (path, callOptions) => call(url + path, callOptions) }
}

async function call(url: string, { token, method = 'GET', headers, body }: CallOptions = {}): Promise<Reply> {
  const response = await fetch(url, {
    method,
    headers: { ...(token !== undefined && { authorization: `Bearer ${token}` }), ...headers },
    body,
  })
  const text = await response.text()
  const isJson = response.headers.get('content-type')?.startsWith('application/json')
  return { status: response.status, headers: response.headers, body: isJson ? JSON.parse(text) : text }
}
