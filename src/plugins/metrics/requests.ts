/** The metrics of requests: their duration, and the results of their tokens. */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { Counter, Histogram, type Registry } from 'prom-client'

declare module 'fastify' {
  interface FastifyInstance {
    /** The number of requests since the start by the result of their token: `OK`, or the error code. */
    clerkAuthResults: () => Promise<Record<string, number>>
  }
  interface FastifyRequest {
    /** The code of the error reply. */
    clerkErrorCode: string | null
  }
}

const SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]
// The errors that refuse a token or its user, and those of the service itself while it checks a token.
const REFUSALS = [
  'MISSING_TOKEN',
  'INVALID_TOKEN',
  'TOKEN_EXPIRED',
  'SESSION_REVOKED',
  'USER_NOT_SYNCED',
  'USER_DELETED',
  'USER_BANNED',
  'USER_DEPROVISIONED',
  'SESSION_PENDING',
  'CROSS_SITE_REQUEST',
  'MEMBERSHIP_ENDED',
  'FORBIDDEN',
  'REVERIFICATION_REQUIRED',
  'JWKS_UNAVAILABLE',
]
const OWN_TROUBLE = 'DATABASE_UNAVAILABLE'

/** Measures the requests to every route that is declared later. Costs less than a microsecond each. */
export function watchRequests(app: FastifyInstance, registry: Registry): void {
  const registers = [registry]
  const durations = new Histogram({
    name: 'clerk_session_sync_http_request_duration_seconds',
    help: 'Time to answer a request, by the pattern of its route.',
    labelNames: ['method', 'route', 'status'],
    buckets: SECONDS,
    registers,
  })
  const results = new Counter({
    name: 'clerk_session_sync_auth_results_total',
    help: 'Requests to guarded routes, by OK or the error code.',
    labelNames: ['code'],
    registers,
  })
  const refusals = new Map([...REFUSALS, OWN_TROUBLE].map((code) => [code, results.labels(code)]))
  const accepted = results.labels('OK')
  accepted.inc(0)
  for (const refusal of refusals.values()) refusal.inc(0)

  app.decorate('clerkAuthResults', async () => {
    const { values } = await results.get()
    return Object.fromEntries(values.map(({ labels, value }) => [String(labels.code), value]))
  })

  // Labels are bound once, because looking up three labels for each observation would cost more than everything else.
  function recorder(route: string) {
    const bound = new Map<string, Map<number, Histogram.Internal<'method' | 'route' | 'status'>>>()
    return (method: string, status: number, ms: number) => {
      let child = bound.get(method)?.get(status)
      if (!child) {
        child = durations.labels(method, route, String(status))
        bound.set(method, (bound.get(method) ?? new Map()).set(status, child))
      }
      child.observe(ms / 1000)
    }
  }

  function recordAuth({ clerkAuth, clerkCredential, clerkErrorCode }: FastifyRequest): void {
    const hasToken = clerkAuth !== null || clerkCredential !== null
    const refusal =
      clerkErrorCode !== null && (hasToken || clerkErrorCode !== OWN_TROUBLE) ? refusals.get(clerkErrorCode) : undefined
    if (refusal) refusal.inc()
    else if (clerkAuth !== null) accepted.inc()
  }

  app.decorateRequest('clerkErrorCode', null)
  app.addHook('onError', (request, _reply, error, done) => {
    request.clerkErrorCode = error.code
    done()
  })
  app.addHook('onRoute', (route) => {
    const record = recorder(route.url)
    // Set on the route, because looking up the route of a request costs more than the observation.
    route.onResponse = [route.onResponse ?? [], []].flat().concat((request, reply, done) => {
      record(request.method, reply.statusCode, reply.elapsedTime)
      recordAuth(request)
      done()
    })
  })
  const recordUnrouted = recorder('none')
  app.addHook('onResponse', (request, reply, done) => {
    // Clients can invent methods, which must not create series.
    if (request.is404) recordUnrouted('ANY', reply.statusCode, reply.elapsedTime)
    done()
  })
}
