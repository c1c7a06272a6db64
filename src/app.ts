/** The composite plugin: the whole service as an ordered list of plugins, mountable in any Fastify app. */
import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import rateLimit, { normalizeIP } from '@fastify/rate-limit'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { RateLimited } from './errors.ts'
import auth, { type AuthOptions } from './plugins/auth.ts'
import catchingUp, { type CatchingUpOptions } from './plugins/catching-up.ts'
import changes, { type ChangesOptions, changesRoute } from './plugins/changes/index.ts'
import closing, { closingReplies } from './plugins/closing.ts'
import cors from './plugins/cors.ts'
import dashboard, { type DashboardOptions } from './plugins/dashboard/index.ts'
import database, { type DatabaseOptions } from './plugins/database.ts'
import errorReplies, { type ErrorRepliesOptions } from './plugins/error-replies.ts'
import identity, { type IdentityOptions } from './plugins/identity.ts'
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
import organizations from './routes/organizations.ts'
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
  /** Without it nobody compares secret key, issuer and database at the start. */
  identity?: Omit<IdentityOptions, 'database'>
  /** Without it lost webhooks are found by a reconcile only. */
  catchingUp?: Omit<CatchingUpOptions, 'database'>
  /** Without it the service never reconciles by itself. */
  reconciling?: Omit<ReconcilingOptions, 'database'>
  /** Without it there is no change feed. */
  changes?: Omit<ChangesOptions, 'database'>
  /** With it, what no route knows is answered in our shape, too: for a host that serves nothing else. */
  errors?: Omit<ErrorRepliesOptions, 'answersNotFound'>
  /** Metrics are at `/metrics`, or on a port of their own. */
  metrics?: Omit<MetricsOptions, 'version'>
  /** Without it there are no traces, and their SDK is not loaded. */
  tracing?: Omit<TracingOptions, 'version'>
  /** Without it there is no page at `/dashboard`. */
  dashboard?: DashboardOptions
  /**
   * Operational routes to leave out: `/livez`, `/readyz`, `/metrics`, `/docs`. Those that the app has already, when this is registered,
   * are left out in any case.
   */
  omit?: readonly OperationalRoute[]
  /** Goes in front of the paths of all our routes. */
  prefix?: string
  /** The origins whose pages may call our routes; none is off. */
  corsOrigins?: readonly string[]
  /** Requests a minute a user, or a client address where no good token is sent; 0 is off. */
  rateLimitPerMinute?: number
}

export type OperationalRoute = 'livez' | 'readyz' | 'metrics' | 'docs'

export const VERSION: string = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')).version

export default fp<AppOptions>(
  async (app, options) => {
    const corsOrigins = options.corsOrigins ?? []
    // Decorators are for the whole application around us.
    await app.register(closing)
    await app.register(database, options.database)
    await app.register(auth, { trustedOrigins: corsOrigins.filter((origin) => origin !== '*'), ...options.auth })
    // After it, whose keys it compares with, and before anything is served.
    if (options.identity) await app.register(identity, { ...options.identity, database: options.database })
    await app.register(userSync, options.userSync ?? {})
    const { token: changesToken, ...changesOptions } = options.changes ?? {}
    if (options.changes) await app.register(changes, { ...changesOptions, database: options.database })

    // Hooks, error handler, CORS and rate limit are for our own routes: a context that the rest of the application is not in.
    await app.register(
      async (ours) => {
        await ours.register(errorReplies, { ...options.errors, answersNotFound: options.errors !== undefined })
        // Before every hook and route, which its spans are to hold.
        if (options.tracing) await ours.register(await loadTracing(), { ...options.tracing, version: VERSION })
        // First of those that look at requests: its headers belong on every refusal.
        if (corsOrigins.length > 0) await ours.register(cors, { origins: corsOrigins })
        await ours.register(closingReplies)
        await ours.register(requestLog)
        const hasRoom = (route: OperationalRoute) => !options.omit?.includes(route) && !isTaken(ours, `/${route}`)
        if (hasRoom('docs')) {
          await ours.register(openapi, {
            version: VERSION,
            receivesWebhooks: options.webhooks !== undefined,
            readsChanges: changesToken !== undefined,
            pushesChanges: options.changes?.webhook !== undefined,
          })
        }
        // Before the routes that it measures.
        if (hasRoom('metrics')) await ours.register(metrics, { ...options.metrics, version: VERSION })
        await registerRateLimit(ours, options.rateLimitPerMinute ?? 0)
        if (options.webhooks) await ours.register(webhooks, options.webhooks)
        if (changesToken !== undefined) await ours.register(changesRoute, { token: changesToken })
        await ours.register(pruning, options.pruning ?? {})
        if (options.catchingUp) await ours.register(catchingUp, { ...options.catchingUp, database: options.database })
        if (options.reconciling)
          await ours.register(reconciling, { ...options.reconciling, database: options.database })

        await ours.register(syncUser)
        await ours.register(profile)
        await ours.register(organizations)
        await ours.register(verify, { corsOrigins })
        await ours.register(health, { version: VERSION, hasReadyz: hasRoom('readyz') })
        if (hasRoom('livez')) await ours.register(livez)
        if (options.dashboard) await ours.register(dashboard, options.dashboard)
      },
      { prefix: options.prefix ?? '' },
    )
  },
  { name: 'clerk-session-sync', fastify: '5.x' },
)

const OPENTELEMETRY = '@fastify/otel @opentelemetry/{api,exporter-trace-otlp-proto,resources,sdk-trace-node}'

/** The packages of OpenTelemetry are optional: they weigh half as much as all the others. */
async function loadTracing() {
  try {
    return (await import('./plugins/tracing/index.ts')).default
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND') throw error
    throw new Error(`traces need OpenTelemetry: npm install ${OPENTELEMETRY}, or unset OTEL_EXPORTER_OTLP_ENDPOINT`, {
      cause: error,
    })
  }
}

/** Whether the application around us has this route already: a second one would end its start. */
const isTaken = (app: FastifyInstance, path: string) =>
  [path, `${path}/`].some((url) => app.hasRoute({ method: 'GET', url: `${app.prefix}${url}` }))

async function registerRateLimit(app: FastifyInstance, perMinute: number): Promise<void> {
  if (perMinute === 0) return
  await app.register(rateLimit, {
    global: false,
    max: perMinute,
    timeWindow: 60_000,
    // Verified twice then, the second time from the cache. Whoever sends a bad token counts by address.
    keyGenerator: (request: FastifyRequest) =>
      app.clerkAuthenticate(request).then(
        ({ userId }) => `user:${userId}`,
        () => `address:${addressOf(request)}`,
      ),
    errorResponseBuilder: (_request, { after }) => new RateLimited(after),
  })
  const limit = app.rateLimit()
  // The plugin's own hook comes after the guards of a route, and would never count whom they refuse.
  app.addHook('onRequest', async function limitRate(request, reply) {
    if (request.routeOptions.config.rateLimit !== false) await limit.call(this, request, reply)
  })
}

// What a trusted proxy passed on need not be an address, and only a real one may count as one. Some proxies add the port.
function addressOf({ ip, socket }: FastifyRequest): string {
  const address = ip.replace(/^(\d+\.\d+\.\d+\.\d+|\[[^\]]*\]):\d+$/, '$1').replace(/^\[(.*)\]$/, '$1')
  return normalizeIP(isIP(address) ? address : (socket.remoteAddress ?? ''))
}
