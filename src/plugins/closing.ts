import fp from 'fastify-plugin'
import { ShuttingDown } from '../errors.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Whether the app closes, or is about to. */
    clerkIsClosing: () => boolean
    /** Turns health to 503 and ends connections after their next reply, while requests are still served. */
    clerkStartDraining: () => void
  }
  interface FastifyContextConfig {
    /** Probes are answered to the end. */
    servesWhileClosing?: boolean
  }
}

/** Answers 503 `SHUTTING_DOWN` to requests that still come, over connections kept open, while the app closes. */
export default fp(
  async (app) => {
    let isDraining = false
    let isClosing = false
    app.decorate('clerkIsClosing', () => isDraining || isClosing)
    app.decorate('clerkStartDraining', () => {
      isDraining = true
    })
    app.addHook('preClose', async () => {
      isClosing = true
    })
    app.addHook('onRequest', async (request) => {
      if (isClosing && !request.routeOptions.config.servesWhileClosing) throw new ShuttingDown()
    })
    // Also for requests accepted before: a connection kept open would keep the server from closing.
    app.addHook('onSend', async (_request, reply) => {
      if (isDraining || isClosing) reply.header('connection', 'close')
    })
  },
  { name: 'clerk-closing', fastify: '5.x' },
)
