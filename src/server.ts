/** The process that serves the app: settings, listen, signals, close. Run this file, or `clerk-session-sync serve`. */

import { randomUUID } from 'node:crypto'
import { realpathSync } from 'node:fs'
import { type Server, STATUS_CODES } from 'node:http'
import { createRequire } from 'node:module'
import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import closeWithGrace from 'close-with-grace'
import Fastify, { type FastifyHttpOptions, type FastifyInstance, LogController } from 'fastify'
import type { Dispatcher } from 'undici'
import app, { type AppOptions } from './app.ts'
import { type Config, ConfigError, loadConfig } from './config.ts'
import { dashboardLink, withDashboardToken } from './dashboard-token.ts'
import { setChangeFeed } from './db/changes/enable.ts'
import { certificateRemedy, databaseRemedy, isDatabaseTrouble } from './db/errors.ts'
import { migrate, SchemaError } from './db/migrate.ts'
import { embedMissing } from './embedded/index.ts'
import { sendError } from './plugins/error-replies.ts'
import limitBodies, { BODY_LIMIT_BYTES } from './plugins/limits/bodies.ts'
import { createLimitedServer, endSoon } from './plugins/limits/sockets.ts'

const MAX_HEADER_BYTES = 65_536
const VERIFY = '/api/auth/verify/'
const CLOSE_DEADLINE_MS = 10_000
const DRAIN_MS = 1_500
const DATABASE_WAIT_MS = 30_000
const DATABASE_RETRY_MS = 1_000

/**
 * Starts the service with these settings, and resolves when it listens. SIGTERM or SIGINT end it with exit code 0.
 * @param plugin the plugin to serve: the app, or one that wraps it
 */
export async function serve(config: Config, plugin: typeof app = app): Promise<FastifyInstance> {
  // V8 would take the objects of requests for long-lived ones: 340 MB under webhooks instead of 180.
  setFlagsFromString('--no-allocation-site-pretenuring')
  const { config: filled, emulator, stop } = await embedMissing(config)
  const complete = withDashboardToken(filled)
  const server = Fastify(serverOptions(complete))
  closeWithGrace({ delay: CLOSE_DEADLINE_MS, logger: server.log }, async ({ err, signal }) => {
    if (err) server.log.fatal({ err }, 'unexpected error, closing')
    else server.log.info({ signal }, 'closing')
    // Load balancers and keep-alive clients need a moment to move to other replicas. Requests are served until then.
    if (server.hasDecorator('clerkStartDraining')) {
      server.clerkStartDraining()
      await sleep(complete.isProduction ? DRAIN_MS : 0)
    }
    await server.close()
    await stop()
  })
  if (complete.NODE_ENV === 'development' && !prettyTransport().transport) {
    server.log.info('the log is JSON, because pino-pretty is not installed: npm install --save-dev pino-pretty')
  }
  await migrateWhenReachable(complete, server)
  for (const warning of ignoredSettings(complete)) server.log.warn(warning)
  if (complete.TRUST_PROXY === true) {
    server.log.warn('TRUST_PROXY=true lets every client forge its address: set the number of proxies, such as 1')
  }
  await server.register(limitBodies)
  await server.register(plugin, appOptions(complete))
  await server.listen({ port: complete.PORT, host: complete.HOST })
  if (complete.DASHBOARD_TOKEN !== config.DASHBOARD_TOKEN) {
    // Not logged, because logs may be stored.
    const origin = server.listeningOrigin.replace('//0.0.0.0:', '//127.0.0.1:')
    console.log(`dashboard: ${dashboardLink(origin, complete.DASHBOARD_TOKEN as string)}`)
  }
  if (emulator) server.log.info(`no Clerk instance is configured: an emulator runs at ${emulator.url}/emulator/state`)
  return server
}

/** Settings that do nothing, because another one that they need is not set. */
function ignoredSettings(config: Config): string[] {
  const { CHANGES, CHANGES_TOKEN, CHANGES_WEBHOOK_URL, CLERK_SECRET_KEY, RECONCILE_INTERVAL_MINUTES } = config
  return [
    ...(!CHANGES && (CHANGES_TOKEN || CHANGES_WEBHOOK_URL)
      ? ['the change feed is off, although CHANGES_TOKEN or CHANGES_WEBHOOK_URL is set: set CHANGES=true']
      : []),
    ...(!CLERK_SECRET_KEY && RECONCILE_INTERVAL_MINUTES > 0
      ? ['nothing is reconciled, although RECONCILE_INTERVAL_MINUTES is set: set CLERK_SECRET_KEY']
      : []),
  ]
}

/** Fastify's options for this service: limits, request ids, logging. */
export function serverOptions(config: Config): FastifyHttpOptions<Server> {
  const proxies = config.TRUST_PROXY
  return {
    logger: {
      level: config.LOG_LEVEL,
      ...(config.NODE_ENV === 'development' && prettyTransport()),
    },
    // A number means that the service is reachable only through that many proxies, so the address before theirs is the client's.
    trustProxy: typeof proxies === 'number' ? (_address, hop) => hop < proxies : proxies,
    // With forward-auth, proxies append any path, also a very long one.
    rewriteUrl: ({ url = '' }) => (url.startsWith(VERIFY) ? VERIFY : url),
    // The app logs one line per request itself.
    logController: new LogController({ disableRequestLogging: true }),
    genReqId: () => randomUUID(),
    bodyLimit: BODY_LIMIT_BYTES,
    // A token that is too long gets a 401 with a code, instead of Node's 431.
    serverFactory: (handler) => createLimitedServer(handler, { maxHeaderSize: MAX_HEADER_BYTES }),
    // While the service closes, the app answers 503 itself, in the shape of every error.
    return503OnClosing: false,
    clientErrorHandler: refuseBytes,
    frameworkErrors: (error, request, reply) => sendError(error, request, reply, !config.isProduction),
  }
}

/** The logger option that selects pino-pretty; empty if that is not installed, as in an app that depends on this package. */
function prettyTransport(): { transport?: { target: string } } {
  try {
    return { transport: { target: createRequire(import.meta.url).resolve('pino-pretty') } }
  } catch {
    return {}
  }
}

const REFUSALS = new Map([
  ['HPE_HEADER_OVERFLOW' as string | undefined, 431],
  ['ERR_HTTP_REQUEST_TIMEOUT', 408],
])

// Bytes that Node's parser refuses never become a request. They are answered in the shape of every error.
function refuseBytes(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) return void socket.destroy()
  const statusCode = REFUSALS.get(error.code) ?? 400
  const reason = STATUS_CODES[statusCode] as string
  const body = JSON.stringify({
    statusCode,
    code: reason.toUpperCase().replaceAll(' ', '_'),
    error: reason,
    message: 'The request could not be read',
    requestId: randomUUID(),
  })
  const head = `HTTP/1.1 ${statusCode} ${reason}\r\nContent-Type: application/json; charset=utf-8\r\nConnection: close`
  endSoon(socket, `${head}\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`)
}

/** The settings as the options of the app's plugins. */
export function appOptions(config: Config): AppOptions {
  const backendApi = config.CLERK_SECRET_KEY ? backendApiOf(config) : undefined
  return {
    database: {
      connectionString: config.DATABASE_URL as string,
      schema: config.DATABASE_SCHEMA,
      max: config.DATABASE_POOL_MAX,
      transactionPooling: config.DATABASE_TRANSACTION_POOLING,
      storePayloads: config.WEBHOOK_STORE_PAYLOADS,
      syncMetadata: config.SYNC_METADATA,
    },
    auth: {
      issuer: config.CLERK_ISSUER as string,
      jwtKey: config.CLERK_JWT_KEY,
      authorizedParties: config.CLERK_AUTHORIZED_PARTIES,
      publishableKey: config.CLERK_PUBLISHABLE_KEY,
      isAzpOptional: config.CLERK_AZP_OPTIONAL,
      allowsJwtTemplates: config.CLERK_JWT_TEMPLATES,
    },
    userSync: {
      autoSync: config.AUTO_SYNC,
      backendApi: backendApi && { ...backendApi, budget: config.CLERK_API_BUDGET },
    },
    webhooks:
      config.CLERK_WEBHOOK_SIGNING_SECRET.length > 0
        ? { signingSecrets: config.CLERK_WEBHOOK_SIGNING_SECRET }
        : undefined,
    pruning: {
      retentionDays: config.WEBHOOK_EVENTS_RETENTION_DAYS,
      changesRetentionDays: config.CHANGES_RETENTION_DAYS,
    },
    changes: config.CHANGES
      ? {
          token: config.CHANGES_TOKEN,
          webhook: config.CHANGES_WEBHOOK_URL
            ? { url: config.CHANGES_WEBHOOK_URL, secret: config.CHANGES_WEBHOOK_SECRET as string }
            : undefined,
        }
      : undefined,
    identity: backendApi ? { isStrict: config.isProduction } : undefined,
    catchingUp:
      config.CATCH_UP_INTERVAL_SECONDS > 0 && backendApi
        ? { intervalMs: config.CATCH_UP_INTERVAL_SECONDS * 1000 }
        : undefined,
    reconciling:
      config.RECONCILE_INTERVAL_MINUTES > 0 && backendApi
        ? { intervalMs: config.RECONCILE_INTERVAL_MINUTES * 60_000 }
        : undefined,
    errors: { showsDetails: config.NODE_ENV === 'development' },
    metrics: { port: config.METRICS_PORT, host: config.HOST },
    tracing: config.OTEL_EXPORTER_OTLP_ENDPOINT ? { endpoint: config.OTEL_EXPORTER_OTLP_ENDPOINT } : undefined,
    dashboard: config.DASHBOARD_TOKEN ? { token: config.DASHBOARD_TOKEN } : undefined,
    corsOrigins: config.CORS_ORIGINS,
    rateLimitPerMinute: config.RATE_LIMIT_PER_MINUTE,
  }
}

const backendApiOf = (config: Config) => ({
  secretKey: config.CLERK_SECRET_KEY as string,
  apiUrl: config.CLERK_API_URL,
  // Node's own setting for fetch; the client of the Backend API has connections of its own.
  dispatcher: process.env.NODE_USE_ENV_PROXY === '1' ? proxyAgent() : undefined,
})
// Made at the start, so that a wrong address of the proxy ends it; loaded only here.
const proxyAgent = (): Dispatcher => {
  const { EnvHttpProxyAgent } = createRequire(import.meta.url)('undici') as typeof import('undici')
  return new EnvHttpProxyAgent()
}

// Waits for a database that is still starting. If it refuses something, the start fails at once.
async function migrateWhenReachable(config: Config, { log }: FastifyInstance): Promise<void> {
  const giveUpAt = performance.now() + DATABASE_WAIT_MS
  for (;;) {
    try {
      await migrate(config.DATABASE_URL as string, { schema: config.DATABASE_SCHEMA })
      await setChangeFeed(config.DATABASE_URL as string, { schema: config.DATABASE_SCHEMA, isEnabled: config.CHANGES })
      return
    } catch (error) {
      const isLasting =
        error instanceof SchemaError || !isDatabaseTrouble(error) || certificateRemedy(error) !== undefined
      if (isLasting || performance.now() > giveUpAt) throw error
      log.warn({ err: error }, 'the database is not ready, retrying for up to 30 s')
      await sleep(DATABASE_RETRY_MS)
    }
  }
}

/** Explains in one message why the service cannot start. */
export function explain(error: unknown): string {
  if (error instanceof ConfigError) return `clerk-session-sync: ${error.message}`
  const { code, message, port, address, syscall } = error as NodeJS.ErrnoException & { port?: number; address?: string }
  if (code === 'EADDRINUSE')
    return `clerk-session-sync: ${address}:${port} is in use: stop the program that listens there, or set PORT or METRICS_PORT`
  if (code === 'EADDRNOTAVAIL' || (syscall === 'getaddrinfo' && !isDatabaseTrouble(error)))
    return `clerk-session-sync: cannot listen: HOST is no address of this machine (${message})`
  return `clerk-session-sync: cannot start: ${databaseRemedy(error) ?? (message || code || String(error))}`
}

if (process.argv[1] && realpathSync(process.argv[1]) === import.meta.filename) {
  try {
    await serve(loadConfig(process.env))
  } catch (error) {
    console.error(explain(error))
    process.exit(1)
  }
}
