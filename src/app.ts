/** The composite plugin: the whole service as an ordered list of plugins, mountable in any Fastify app. */
import { readFileSync } from 'node:fs'
import cors from '@fastify/cors'
import rateLimit, { normalizeIP } from '@fastify/rate-limit'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { RateLimited } from './errors.ts'
import auth, { type AuthOptions } from './plugins/auth.ts'
import changes, { type ChangesOptions } from './plugins/changes/index.ts'
import closing from './plugins/closing.ts'
import dashboard, { type DashboardOptions } from './plugins/dashboard/index.ts'
import database, { type DatabaseOptions } from './plugins/database.ts'
import errorReplies, { type ErrorRepliesOptions } from './plugins/error-replies.ts'
import metrics, { type MetricsOptions } from './plugins/metrics/index.ts'
import openapi from './plugins/openapi.ts'
import pruning, { type PruningOptions } from './plugins/pruning.ts'
import reconciling, { type ReconcilingOptions } from './plugins/reconciling.ts'
import requestLog from './plugins/request-log.ts'
import type { TracingOptions } from './plugins/tracing/index.ts'
import userSync, { type UserSyncOptions } from './plugins/user-sync.ts'
import webhooks, { type WebhooksOptions } from './plugins/webhooks/index.ts'
import health from './routes/health.ts'
import livez from './routes/livez.ts'
import profile from './routes/profile.ts'
import syncUser from './routes/sync-user.ts'
import verify from './routes/verify.ts'

export interface AppOptions {
  database: DatabaseOptions
  auth: AuthOptions
  userSync?: UserSyncOptions
  /** Without signing secrets no webhook route is mounted. */
  webhooks?: WebhooksOptions
  pruning?: PruningOptions
  /** Without it the service never reconciles by itself. */
  reconciling?: Omit<ReconcilingOptions, 'database'>
  /** Without it there is no change feed. */
  changes?: Omit<ChangesOptions, 'database'>
  errors?: ErrorRepliesOptions
  /** Metrics are at `/metrics`, or on a port of their own. */
  metrics?: Omit<MetricsOptions, 'version'>
  /** Without it there are no traces, and their SDK is not loaded. */
  tracing?: Omit<TracingOptions, 'version'>
  /** Without it there is no page at `/dashboard`. */
  dashboard?: DashboardOptions
  /** The origins whose pages may call; none is off. */
  corsOrigins?: readonly string[]
  /** Requests a minute a user, or a client address where no good token is sent; 0 is off. */
  rateLimitPerMinute?: number
}

export const VERSION: string = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')).version

export default fp<AppOptions>(
  async (app, options) => {
    await app.register(errorReplies, options.errors ?? {})
    // Before every hook and route, which its spans are to hold.
    if (options.tracing)
      await app.register(import('./plugins/tracing/index.ts'), { ...options.tracing, version: VERSION })
    // First of those that look at requests: its headers belong on every refusal.
    await registerCors(app, options.corsOrigins ?? [])
    await app.register(closing)
    await app.register(requestLog)
    await app.register(openapi, {
      version: VERSION,
      receivesWebhooks: options.webhooks !== undefined,
      readsChanges: options.changes?.token !== undefined,
      pushesChanges: options.changes?.webhook !== undefined,
    })
    await app.register(database, options.database)
    await app.register(auth, options.auth)
    await app.register(userSync, options.userSync ?? {})
    // Before the routes that it measures.
    await app.register(metrics, { ...options.metrics, version: VERSION })
    await registerRateLimit(app, options.rateLimitPerMinute ?? 0)
    if (options.webhooks) await app.register(webhooks, options.webhooks)
    await app.register(pruning, options.pruning ?? {})
    if (options.changes) await app.register(changes, { ...options.changes, database: options.database })
    if (options.reconciling) await app.register(reconciling, { ...options.reconciling, database: options.database })

    await app.register(syncUser)
    await app.register(profile)
    await app.register(verify)
    await app.register(health, { version: VERSION })
    await app.register(livez)
    if (options.dashboard) await app.register(dashboard, options.dashboard)
  },
  { name: 'clerk-session-sync', fastify: '5.x' },
)

declare module 'fastify' {
  interface FastifyContextConfig {
    /** False keeps @fastify/cors off the route. */
    cors?: false
  }
}

async function registerCors(app: FastifyInstance, origins: readonly string[]): Promise<void> {
  if (origins.length === 0) return
  const isAny = origins.includes('*')
  await app.register(cors, {
    origin: isAny ? '*' : [...origins],
    // Cookies only for origins that are named.
    credentials: !isAny,
    methods: ['GET', 'HEAD', 'POST'],
    exposedHeaders: ['Retry-After', 'WWW-Authenticate'],
    maxAge: 600,
    // Its refusals would not be in the shape of ours.
    strictPreflight: false,
  })
}

async function registerRateLimit(app: FastifyInstance, perMinute: number): Promise<void> {
  if (perMinute === 0) return
  await app.register(rateLimit, {
    global: false,
    max: perMinute,
    timeWindow: 60_000,
    // Verified twice then, the second time from the cache. Whoever sends a bad token counts by address.
    keyGenerator: (request: FastifyRequest) =>
      app.clerkAuthenticate(request).then(
        ({ userId }) => userId,
        () => normalizeIP(request.ip),
      ),
    errorResponseBuilder: (_request, { after }) => new RateLimited(after),
  })
  const limit = app.rateLimit()
  // The plugin's own hook comes after the guards of a route, and would never count whom they refuse.
  app.addHook('onRequest', async function limitRate(request, reply) {
    if (request.routeOptions.config.rateLimit !== false) await limit.call(this, request, reply)
  })
}
