import type { FastifyReply } from 'fastify'
import fp from 'fastify-plugin'

declare module 'fastify' {
  interface FastifyRequest {
    /** Whether the reply is private to the sender of the request. */
    clerkIsPrivate: boolean
  }
  interface FastifyContextConfig {
    /** The route needs a credential, so no cache may store its replies, including refusals. Guards set this for their routes. */
    isPrivate?: true
  }
}

const CREDENTIALS = ['Authorization', 'Cookie']

/**
 * Keeps replies of routes that need a credential out of caches, which could otherwise serve one user's profile to another. Sets
 * `Cache-Control: no-store` unless the handler set the header itself, and adds the credentials to `Vary`.
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

/** Adds names to `Vary`, each once, and keeps the existing ones. */
export function addVary(reply: FastifyReply, names: readonly string[]): void {
  const present = [reply.getHeader('vary') ?? []].flat().join(',')
  const listed = present.toLowerCase().split(/\s*,\s*/)
  const missing = names.filter((name) => !listed.includes(name.toLowerCase()))
  if (listed.includes('*') || missing.length === 0) return
  reply.header('vary', [present, ...missing].filter((part) => part !== '').join(', '))
}
