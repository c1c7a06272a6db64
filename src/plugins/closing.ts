import fp from 'fastify-plugin'
import { ShuttingDown } from '../errors.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Whether the app is closing, or about to. */
    clerkIsClosing: () => boolean
    /** Whether new requests are refused. */
    clerkIsRefusing: () => boolean
    /** Makes health answer 503 and closes connections after their next reply; requests are still served. */
    clerkStartDraining: () => void
  }
  interface FastifyContextConfig {
    /** Set on probes, which are answered until the end. */
    servesWhileClosing?: boolean
  }
}

/** Decorates the app with its closing state. */
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

/** While the app closes, answers 503 `SHUTTING_DOWN` to requests that still arrive on keep-alive connections. */
export const closingReplies = fp(
  async (app) => {
    // Hooks of every request use callbacks: creating a promise would cost more than their work.
    app.addHook('onRequest', (request, _reply, done) => {
      const isRefused = app.clerkIsRefusing() && !request.routeOptions.config.servesWhileClosing
      done(isRefused ? new ShuttingDown() : undefined)
    })
    // Also for requests accepted before, because a keep-alive connection would keep the server from closing.
    app.addHook('onSend', (_request, reply, payload, done) => {
      if (app.clerkIsClosing()) reply.header('connection', 'close')
      done(null, payload)
    })
  },
  { name: 'clerk-closing-replies', fastify: '5.x', dependencies: ['clerk-closing'] },
)
