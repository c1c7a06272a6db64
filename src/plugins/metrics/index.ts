/** Metrics in Prometheus' text format, on a route of the app or on a separate port. */
import type { ServerResponse } from 'node:http'
import { Type } from '@sinclair/typebox'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { collectDefaultMetrics, Registry } from 'prom-client'
import { errorReplySchemas } from '../../errors.ts'
import { checkOptions, number, optional, optionsOf, text } from '../check-options.ts'
import { createLimitedServer } from '../limits/sockets.ts'
import { watchEvents } from './events.ts'
import { shareRenderings } from './renderings.ts'
import { watchRequests } from './requests.ts'
import { watchStates } from './states.ts'

export interface MetricsOptions {
  version: string
  /** A separate port for the metrics; the app then has no `/metrics` route. */
  port?: number
  /** The address on which that port listens. */
  host?: string
}

const PATH = '/metrics'
// Left out: nodejs_active_resources reports the same without visiting every connection, and its names follow Prometheus' rules.
const LEFT_OUT = [
  'nodejs_active_handles',
  'nodejs_active_handles_total',
  'nodejs_active_requests',
  'nodejs_active_requests_total',
  'nodejs_active_resources_total',
]

const Metrics = {
  description: "Prometheus' text format, version 0.0.4",
  content: { 'text/plain': { schema: Type.String({ examples: ['clerk_session_sync_users 42'] }) } },
}

const OPTIONS = optionsOf<MetricsOptions>({
  version: text('a version'),
  port: optional(number),
  host: optional(text('an address')),
})

/** Measures every route that is registered after it, and serves the metrics at `/metrics`. */
export default fp<MetricsOptions>(
  async (app, options) => {
    checkOptions('clerkMetrics', OPTIONS, options)
    const { version, port, host = '127.0.0.1' } = options
    const registry = new Registry()
    collectDefaultMetrics({ register: registry })
    for (const name of LEFT_OUT) registry.removeSingleMetric(name)
    watchRequests(app, registry)
    watchEvents(app, registry)
    const collect = watchStates(app, registry, version)
    const scrape = shareRenderings(async () => {
      await collect()
      return Buffer.from(await registry.metrics())
    })

    if (port !== undefined) return listenApart(app, scrape, registry.contentType, port, host)
    app.get(
      PATH,
      {
        config: { rateLimit: false, servesWhileClosing: true },
        schema: {
          tags: ['operations'],
          summary: 'The metrics of this replica, for Prometheus',
          response: { 200: Metrics, ...errorReplySchemas() },
        },
      },
      async (_request, reply) => reply.type(registry.contentType).send(await scrape(reply.raw)),
    )
  },
  { name: 'clerk-metrics', fastify: '5.x', dependencies: ['clerk-database', 'clerk-auth'] },
)

/** A listener that serves only the metrics; it opens and closes with the app. */
function listenApart(
  app: FastifyInstance,
  scrape: (response: ServerResponse) => Promise<Buffer>,
  contentType: string,
  port: number,
  host: string,
): void {
  const server = createLimitedServer(async ({ method, url }, response) => {
    if (method !== 'GET' || url?.split('?', 1)[0] !== PATH) return void response.writeHead(404).end()
    const rendering = await scrape(response)
    response.writeHead(200, { 'content-type': contentType }).end(rendering)
  })
  app.addHook('onReady', async () => {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    server.once('error', reject).listen(port, host, resolve)
    await promise
    app.log.info({ port, host }, 'metrics are served on a separate port')
  })
  app.addHook('onClose', async () => {
    server.closeAllConnections()
    server.close()
  })
}
