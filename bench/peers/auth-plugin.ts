/** The auth plugin alone, on a route without a database. */
import Fastify from 'fastify'
import auth from '../../src/plugins/auth.ts'

const { CLERK_ISSUER = '', CLERK_AUTHORIZED_PARTIES = '', PORT, HOST } = process.env
const fastify = Fastify()
await fastify.register(auth, { issuer: CLERK_ISSUER, authorizedParties: CLERK_AUTHORIZED_PARTIES.split(',') })
const schema = { response: { 200: { type: 'object', properties: { userId: { type: 'string' } } } } }
fastify.get('/verified', { onRequest: fastify.requireClerkAuth(), schema }, async (request) => ({
  userId: request.clerkAuth?.userId,
}))
await fastify.listen({ port: Number(PORT), host: HOST })
