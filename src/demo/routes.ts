/** What the demo's page calls: the feed, the switch of the database, and a backend as it is without this service. */
import { type FastifyPluginAsyncTypebox, Type } from '@fastify/type-provider-typebox'
import type { DemoEvent, Feed } from './feed.ts'
import type { Gate } from './gate.ts'

export interface DemoRoutesOptions {
  clerkUrl: string
  feed: Feed
  gate: Gate
}

const MAX_SHUT_MS = 10_000

const routes: FastifyPluginAsyncTypebox<DemoRoutesOptions> = async (app, { clerkUrl, feed, gate }) => {
  const streams = new Set<() => void>()
  // Streams would keep the server from closing.
  app.addHook('preClose', async () => {
    for (const end of streams) end()
  })
  app.addHook('onRoute', (route) => {
    route.schema = { ...route.schema, hide: true }
  })

  app.get('/world', async () => ({ clerkUrl }))

  app.get('/events', { logLevel: 'silent' }, (_request, reply) => {
    reply.hijack()
    reply.raw.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' })
    reply.raw.write(': hello\n\n')
    const leave = feed.follow((event) => reply.raw.write(`data: ${JSON.stringify(event)}\n\n`))
    const end = () => reply.raw.end()
    streams.add(end)
    reply.raw.once('close', () => {
      leave()
      streams.delete(end)
    })
  })

  const Stop = Type.Object({ ms: Type.Integer({ minimum: 1, maximum: MAX_SHUT_MS }) })
  app.post('/database/stop', { schema: { body: Stop } }, async ({ body }, reply) => {
    gate.shut(body.ms)
    feed.add({ lane: 'database', at: Date.now(), durationMs: body.ms, label: 'stopped', outcome: 'DOWN' } as DemoEvent)
    return reply.code(204).send()
  })

  // The mistake that this service ends: a good token and no row is answered as if the token were bad.
  app.get('/old-backend/profile', { onRequest: app.requireClerkAuth() }, async ({ clerkAuth }, reply) => {
    const { user } = await app.clerkRepository.findAuthState(clerkAuth as NonNullable<typeof clerkAuth>)
    return user ? { user } : reply.code(401).send({ error: 'Unauthorized' })
  })
}
export default routes
