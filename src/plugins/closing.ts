import fp from 'fastify-plugin'
import { ShuttingDown } from '../errors.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Whether the app closes, or is about to. */
    clerkIsClosing: () => boolean
    /** Whether new requests are refused. */
    clerkIsRefusing: () => boolean
    /** Turns health to 503 and ends connections after their next reply, while requests are still served. */
    clerkStartDraining: () => void
  }
  interface FastifyContextConfig {
    /** Probes are answered to the end. */
    servesWhileClosing?: boolean
  }
}

/** Tells whether the app closes. */
export default fp(
  async (app) => {
    let isDraining = false
    let isClosing = false
    app.decorate('clerkIsClosing', () => isDraining || isClosing)
    app.decorate('clerkIsRefusing', () => isClosing)
    app.decorate('clerkStartDraining', () => {
      isDraining = true
    })
    app.addHook('preClose', async () => {
      isClosing = true
    })
  },
  { name: 'clerk-closing', fastify: '5.x' },
)

/** Answers 503 `SHUTTING_DOWN` to requests that still come to its routes, over connections kept open, while the app closes. */
export const closingReplies = fp(
  async (app) => {
    // Callbacks, here and in other hooks of every request: a promise each costs more than what they do.
    app.addHook('onRequest', (request, _reply, done) => {
      const isRefused = app.clerkIsRefusing() && !request.routeOptions.config.servesWhileClosing
      done(isRefused ? new ShuttingDown() : undefined)
    })
    // Also for requests accepted before: a connection kept open would keep the server from closing.
    app.addHook('onSend', (_request, reply, payload, done) => {
      if (app.clerkIsClosing()) reply.header('connection', 'close')
      done(null, payload)
    })
  },
  { name: 'clerk-closing-replies', fastify: '5.x', dependencies: ['clerk-closing'] },
)
