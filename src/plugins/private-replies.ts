import type { FastifyReply } from 'fastify'
import fp from 'fastify-plugin'

declare module 'fastify' {
  interface FastifyRequest {
    /** Whether the reply is for the sender of the request alone. */
    clerkIsPrivate: boolean
  }
  interface FastifyContextConfig {
    /** The route needs a credential: no cache may keep its replies, refusals included. Guards set the same for their route. */
    isPrivate?: true
  }
}

const CREDENTIALS = ['Authorization', 'Cookie']

/**
 * Keeps replies of routes that need a credential out of caches, which else could hand one user's profile to another: `no-store`,
 * unless the handler set `Cache-Control` itself, and `Vary` with the credentials.
 */
export default fp(
  async (app) => {
    app.decorateRequest('clerkIsPrivate', false)
    app.addHook('onSend', (request, reply, payload, done) => {
      if (request.clerkIsPrivate || request.routeOptions.config.isPrivate) {
        if (!reply.hasHeader('cache-control')) reply.header('cache-control', 'no-store')
        addVary(reply, CREDENTIALS)
      }
      done(null, payload)
    })
  },
  { name: 'clerk-private-replies', fastify: '5.x' },
)

/** Adds names to `Vary`, each once; what is there stays. */
export function addVary(reply: FastifyReply, names: readonly string[]): void {
  const present = [reply.getHeader('vary') ?? []].flat().join(',')
  const listed = present.toLowerCase().split(/\s*,\s*/)
  const missing = names.filter((name) => !listed.includes(name.toLowerCase()))
  if (listed.includes('*') || missing.length === 0) return
  reply.header('vary', [present, ...missing].filter((part) => part !== '').join(', '))
}
