/** The composite plugin: the whole service as an ordered list of plugins, mountable in any Fastify app. */
import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import rateLimit, { normalizeIP } from '@fastify/rate-limit'
import { Type } from '@sinclair/typebox'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { RateLimited } from './errors.ts'
import auth, { type AuthOptions } from './plugins/auth.ts'
import type { CatchingUpOptions } from './plugins/catching-up.ts'
import type { ChangesOptions } from './plugins/changes/index.ts'
import { checkOptions, number, object, optional, optionsOf, texts } from './plugins/check-options.ts'
import closing, { closingReplies } from './plugins/closing.ts'
import type { DashboardOptions } from './plugins/dashboard/index.ts'
import database, { type DatabaseOptions } from './plugins/database.ts'
import errorReplies, { type ErrorRepliesOptions } from './plugins/error-replies.ts'
import type { IdentityOptions } from './plugins/identity.ts'
import metrics, { type MetricsOptions } from './plugins/metrics/index.ts'
import openapi from './plugins/openapi.ts'
import pruning, { type PruningOptions } from './plugins/pruning.ts'
import type { ReconcilingOptions } from './plugins/reconciling.ts'
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

type ClerkOptions = 'backendApi' | 'issuer' | 'jwtKey'
/** Options that take the Clerk instance from `auth` and `userSync` by default. */
type OfClerk<Options extends Partial<Record<ClerkOptions | 'database', unknown>>> = Omit<
  Options,
  'database' | ClerkOptions
> &
  Partial<Pick<Options, ClerkOptions>>

export interface AppOptions {
  database: DatabaseOptions
  auth: AuthOptions
  userSync?: UserSyncOptions
  /** Without it there is no webhook route. */
  webhooks?: WebhooksOptions
  pruning?: PruningOptions
  /** Without it the start does not check that secret key, issuer and database belong to one Clerk instance. */
  identity?: OfClerk<IdentityOptions>
  /** Without it only a reconcile repairs lost webhooks. */
  catchingUp?: OfClerk<CatchingUpOptions>
  /** Without it the service never reconciles automatically. */
  reconciling?: OfClerk<ReconcilingOptions>
  /** Without it there is no change feed. */
  changes?: Omit<ChangesOptions, 'database'>
  /** If set, unknown routes are answered in this service's error shape too: for a host that serves nothing else. */
  errors?: Omit<ErrorRepliesOptions, 'answersNotFound'>
  /** Metrics are served at `/metrics`, or on a separate port. */
  metrics?: Omit<MetricsOptions, 'version'>
  /** Without it there are no traces, and the OpenTelemetry SDK is not loaded. */
  tracing?: Omit<TracingOptions, 'version'>
  /** Without it there is no page at `/dashboard`. */
  dashboard?: DashboardOptions
  /**
   * Operational routes to leave out: `/livez`, `/readyz`, `/metrics`, `/docs`. Routes that the app already has when this plugin is
   * registered are left out in any case.
   */
  omit?: readonly OperationalRoute[]
  /** A prefix for the paths of all routes. */
  prefix?: string
  /** The origins whose pages may call the routes; empty turns CORS off. */
  corsOrigins?: readonly string[]
  /** Requests per minute for each user, or for each client address without a valid token; 0 turns the limit off. */
  rateLimitPerMinute?: number
}

export type OperationalRoute = 'livez' | 'readyz' | 'metrics' | 'docs'

export const VERSION: string = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')).version

const OPTIONS = optionsOf<AppOptions>({
  database: object,
  auth: object,
  userSync: optional(object),
  webhooks: optional(object),
  pruning: optional(object),
  identity: optional(object),
  catchingUp: optional(object),
  reconciling: optional(object),
  changes: optional(object),
  errors: optional(object),
  metrics: optional(object),
  tracing: optional(object),
  dashboard: optional(object),
  omit: optional(
    Type.Array(
      Type.String({ pattern: '^(livez|readyz|metrics|docs)$', description: 'livez, readyz, metrics or docs' }),
      { description: 'an array' },
    ),
  ),
  prefix: optional(Type.String({ description: 'a path' })),
  corsOrigins: optional(texts('origins such as https://app.example.com')),
  rateLimitPerMinute: optional(number),
})

// What a setting turns on is loaded with it: a start without it is shorter.
export default fp<AppOptions>(
  async (app, options) => {
    if (app.hasDecorator('clerkRepository')) throw new Error('clerk-session-sync is already registered in this app')
    checkOptions('clerkSessionSync', OPTIONS, options)
    const corsOrigins = options.corsOrigins ?? []
    // Outside the encapsulated context below, so that the host application sees the decorators.
    await app.register(closing)
    await app.register(database, options.database)
    await app.register(auth, { trustedOrigins: corsOrigins.filter((origin) => origin !== '*'), ...options.auth })
    // After auth, whose keys it compares, and before anything is served.
    if (options.identity) {
      await app.register(import('./plugins/identity.ts'), ofClerk('identity', options, options.identity))
    }
    await app.register(userSync, options.userSync ?? {})
    const { token: changesToken, ...changesOptions } = options.changes ?? {}
    if (options.changes) {
      await app.register(import('./plugins/changes/index.ts'), { ...changesOptions, database: options.database })
    } else {
      app.decorate('clerkOn', () => {
        throw new Error('clerkOn needs the change feed: pass changes: {} to clerkSessionSync')
      })
    }

    // Hooks, error handler, CORS and rate limit are encapsulated, so that they do not affect the host application's routes.
    await app.register(
      async (ours) => {
        await ours.register(errorReplies, { ...options.errors, answersNotFound: options.errors !== undefined })
        // Before every hook and route, because its spans measure them.
        if (options.tracing) await ours.register(await loadTracing(), { ...options.tracing, version: VERSION })
        // Before all other request hooks, so that refusals have CORS headers too.
        if (corsOrigins.length > 0) await ours.register(import('./plugins/cors.ts'), { origins: corsOrigins })
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
        // Before the routes, because it measures them.
        if (hasRoom('metrics')) await ours.register(metrics, { ...options.metrics, version: VERSION })
        await registerRateLimit(ours, options.rateLimitPerMinute ?? 0)
        if (options.webhooks) await ours.register(webhooks, options.webhooks)
        if (changesToken !== undefined) {
          await ours.register(import('./plugins/changes/route.ts'), { token: changesToken })
        }
        await ours.register(pruning, options.pruning ?? {})
        if (options.catchingUp) {
          await ours.register(import('./plugins/catching-up.ts'), ofClerk('catchingUp', options, options.catchingUp))
        }
        if (options.reconciling) {
          await ours.register(import('./plugins/reconciling.ts'), ofClerk('reconciling', options, options.reconciling))
        }

        await ours.register(syncUser)
        await ours.register(profile)
        await ours.register(organizations)
        await ours.register(verify, { corsOrigins })
        await ours.register(health, { version: VERSION, hasReadyz: hasRoom('readyz') })
        if (hasRoom('livez')) await ours.register(livez)
        if (options.dashboard) await ours.register(import('./plugins/dashboard/index.ts'), options.dashboard)
      },
      { prefix: options.prefix ?? '' },
    )
  },
  { name: 'clerk-session-sync', fastify: '5.x' },
)

/** Completes the options of a part with the database and the Clerk instance of the other parts. */
function ofClerk<Given extends { issuer?: string }>(
  name: string,
  { database, auth, userSync }: AppOptions,
  given: Given,
) {
  if (given.issuer !== undefined && given.issuer !== auth.issuer) {
    throw new TypeError(`${name}.issuer differs from auth.issuer, which is its default: leave it out`)
  }
  const { issuer, jwtKey } = auth
  const { secretKey, apiUrl, dispatcher } = (userSync?.backendApi ?? {}) as NonNullable<UserSyncOptions['backendApi']>
  return { issuer, jwtKey, backendApi: { secretKey, apiUrl, dispatcher }, ...given, database }
}

const OPENTELEMETRY = '@fastify/otel @opentelemetry/{api,exporter-trace-otlp-proto,resources,sdk-trace-node}'

/** The OpenTelemetry packages are optional peers because they are half as large as all other dependencies together. */
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

/** Whether the host application has this route already: a second one would make its start fail. */
const isTaken = (app: FastifyInstance, path: string) =>
  [path, `${path}/`].some((url) => app.hasRoute({ method: 'GET', url: `${app.prefix}${url}` }))

async function registerRateLimit(app: FastifyInstance, perMinute: number): Promise<void> {
  if (perMinute === 0) return
  await app.register(rateLimit, {
    global: false,
    max: perMinute,
    timeWindow: 60_000,
    // The guard verifies the token again, from the cache. Requests with a bad token are counted by address.
    keyGenerator: (request: FastifyRequest) =>
      app.clerkAuthenticate(request).then(
        ({ userId }) => `user:${userId}`,
        () => `address:${addressOf(request)}`,
      ),
    errorResponseBuilder: (_request, { after }) => new RateLimited(after),
  })
  const limit = app.rateLimit()
  // The plugin's own hook runs after the guards of a route, so it would never count the requests that they refuse.
  app.addHook('onRequest', async function limitRate(request, reply) {
    if (request.routeOptions.config.rateLimit !== false) await limit.call(this, request, reply)
  })
}

// A trusted proxy may forward something that is not an address, which must not get a counter of its own; some append the port.
function addressOf({ ip, socket }: FastifyRequest): string {
  const address = ip.replace(/^(\d+\.\d+\.\d+\.\d+|\[[^\]]*\]):\d+$/, '$1').replace(/^\[(.*)\]$/, '$1')
  return normalizeIP(isIP(address) ? address : (socket.remoteAddress ?? ''))
}
