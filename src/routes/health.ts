import { setTimeout as sleep } from 'node:timers/promises'
import { type FastifyPluginAsyncTypebox, type Static, Type } from '@fastify/type-provider-typebox'
import type { FastifyInstance } from 'fastify'
import { describeDelay, describeUnrecorded } from '../domain/feed-delay.ts'
import { errorReplySchemas } from '../errors.ts'

const Check = Type.Object({
  status: Type.Union([Type.Literal('ok'), Type.Literal('degraded'), Type.Literal('down'), Type.Literal('disabled')]),
  latencyMs: Type.Optional(Type.Number({ description: 'The duration of the check, or of the last fetch' })),
  reason: Type.Optional(Type.String()),
})
type Check = Static<typeof Check>

const HealthReply = Type.Object(
  {
    status: Type.Union([Type.Literal('ok'), Type.Literal('degraded'), Type.Literal('down')]),
    version: Type.String(),
    uptimeSeconds: Type.Number(),
    checks: Type.Object({
      database: Check,
      jwks: Check,
      webhooks: Check,
      changes: Type.Optional(Type.Object(Check.properties, { description: 'The change feed, if it is on' })),
      replica: Type.Optional(Type.Object(Check.properties, { description: 'This replica, while it shuts down' })),
    }),
  },
  {
    description: '`ok` or `degraded`: requests are served',
    examples: [
      {
        status: 'ok',
        version: '0.1.0',
        uptimeSeconds: 86400,
        checks: {
          database: { status: 'ok', latencyMs: 0.8 },
          jwks: { status: 'ok', latencyMs: 42 },
          webhooks: { status: 'ok', reason: 'last received 2026-01-02T03:04:05.678Z' },
        },
      },
    ],
  },
)
const DownReply = {
  ...HealthReply,
  description: 'The database cannot be reached, or this replica is shutting down',
  headers: { 'Retry-After': { type: 'string', description: 'Seconds' } },
  examples: [
    {
      status: 'down',
      version: '0.1.0',
      uptimeSeconds: 86400,
      checks: {
        database: { status: 'down', reason: 'unreachable or not answering in time' },
        jwks: { status: 'ok', latencyMs: 42 },
        webhooks: { status: 'down', reason: 'the database is down' },
      },
    },
  ],
}

type Summary = Awaited<ReturnType<FastifyInstance['clerkRepository']['ledgerSummary']>>

export interface HealthOptions {
  version: string
  /** False leaves `/readyz` to the host application. */
  hasReadyz?: boolean
  /** How long the database may take to answer before it counts as down. */
  deadlineMs?: number
}

/** `GET /api/auth/health` and `GET /readyz`: 503 while the database cannot be reached or the service is shutting down. */
const health: FastifyPluginAsyncTypebox<HealthOptions> = async (
  app,
  { version, hasReadyz = true, deadlineMs = 1_500 },
) => {
  // Concurrent probes share one check, so that they do not pile up on a frozen database.
  let probe: Promise<Omit<Static<typeof HealthReply>['checks'], 'jwks'>> | undefined

  async function checkDatabase() {
    const startedAt = performance.now()
    const summary = app.clerkRepository.ledgerSummary()
    const changes = changesCheck()
    const deadline = sleep(deadlineMs, undefined, { ref: false }).then(() => {
      throw new Error(`no answer in ${deadlineMs} ms`)
    })
    for (const racer of [summary, changes, deadline]) racer.catch(() => undefined) // Those that lose the race may still reject.
    try {
      const ledger = await Promise.race([summary, deadline])
      const latencyMs = Math.round((performance.now() - startedAt) * 100) / 100
      const database: Check = ledger.isReadOnly
        ? { status: 'degraded', latencyMs, reason: 'read-only: users are served, nothing is written' }
        : { status: 'ok', latencyMs }
      return { database, webhooks: webhooksCheck(ledger), ...(await Promise.race([changes, deadline])) }
    } catch (error) {
      app.log.warn({ err: error }, 'the database does not answer')
      const reason = 'unreachable or not answering in time'
      return {
        database: { status: 'down', reason } satisfies Check,
        webhooks: { status: 'down', reason: 'the database is down' } satisfies Check,
      }
    }
  }

  function webhooksCheck({ lastReceivedAt, failed, foreign, foreignInstanceId, lostToday }: Summary): Check {
    if (!app.hasPlugin('clerk-webhooks')) return { status: 'disabled', reason: 'no signing secret is set' }
    const reasons = [
      ...(failed > 0 ? [`${failed} failed events are waiting for a replay`] : []),
      ...(foreign > 0
        ? [`${foreign} events of another Clerk instance (${foreignInstanceId}) were ignored in the last day`]
        : []),
      ...(lostToday > 0
        ? [`webhooks lost: ${lostToday} today, repaired by the catch-up; check the endpoint at Clerk`]
        : []),
    ]
    if (reasons.length > 0) return { status: 'degraded', reason: reasons.join('; ') }
    return {
      status: 'ok',
      reason: lastReceivedAt ? `last received ${lastReceivedAt.toISOString()}` : 'none received yet',
    }
  }

  async function changesCheck(): Promise<{ changes?: Check }> {
    if (!app.hasPlugin('clerk-changes')) return {}
    const { consumers, unrecorded, delay } = await app.clerkChangesStatus()
    if (unrecorded.length > 0) {
      return { changes: { status: 'degraded', reason: Object.values(describeUnrecorded(unrecorded)).join(': ') } }
    }
    if (delay) return { changes: { status: 'degraded', reason: Object.values(describeDelay(delay)).join(': ') } }
    const dead = consumers.reduce((sum, consumer) => sum + consumer.dead, 0)
    if (dead > 0) {
      const given = dead === 1 ? '1 change was given up' : `${dead} changes were given up`
      return { changes: { status: 'degraded', reason: `${given}: clerk-session-sync replay --changes` } }
    }
    return { changes: { status: 'ok' } }
  }

  function jwksCheck(): Check {
    const keys = app.clerkKeysStatus()
    if (!keys) return { status: 'ok', reason: 'a fixed key is set' }
    if (keys.state === 'ok') return { status: 'ok', latencyMs: Math.round(Number(keys.lastFetchMs)) }
    // The error itself is only logged, because it may contain internal names.
    return keys.state === 'empty'
      ? { status: 'down', reason: keys.failures > 0 ? 'no keys: the last fetch failed' : 'not fetched yet' }
      : { status: 'degraded', reason: 'the last fetch failed, the previous keys are still used' }
  }

  for (const url of hasReadyz ? ['/api/auth/health', '/readyz'] : ['/api/auth/health']) {
    app.get(
      url,
      {
        config: { rateLimit: false, servesWhileClosing: true },
        schema: {
          tags: ['operations'],
          summary: 'Whether this replica can serve',
          response: { 200: HealthReply, 503: DownReply, ...errorReplySchemas() },
        },
      },
      async (_request, reply) => {
        probe ??= checkDatabase().finally(() => {
          probe = undefined
        })
        const checks = {
          ...(await probe),
          jwks: jwksCheck(),
          ...(app.clerkIsClosing() && { replica: { status: 'down' as const, reason: 'shutting down' } }),
        }
        const isDown = checks.database.status === 'down' || checks.replica !== undefined
        const isOk =
          checks.database.status === 'ok' &&
          checks.webhooks.status !== 'degraded' &&
          checks.changes?.status !== 'degraded' &&
          checks.jwks.status === 'ok'
        return reply
          .code(isDown ? 503 : 200)
          .headers({ 'cache-control': 'no-store', ...(isDown && { 'retry-after': '2' }) })
          .send({
            status: isDown ? 'down' : isOk ? 'ok' : 'degraded',
            version,
            uptimeSeconds: Math.round(process.uptime()),
            checks,
          })
      },
    )
  }
}
export default health
