/** Plain @fastify/jwt with a static key, as its README has it: signature, algorithm and time, nothing else. */
import fastifyJwt, { type FastifyJwtVerifyOptions } from '@fastify/jwt'
import Fastify from 'fastify'

const { PUBLIC_KEY = '', CACHED_TOKENS = '0', PORT, HOST } = process.env
const fastify = Fastify()
await fastify.register(fastifyJwt, {
  secret: { public: PUBLIC_KEY, private: '' },
  verify: { algorithms: ['RS256'], cache: Number(CACHED_TOKENS) } as FastifyJwtVerifyOptions['verify'] & object,
})
const schema = { response: { 200: { type: 'object', properties: { userId: { type: 'string' } } } } }
fastify.get('/verified', { onRequest: (request) => request.jwtVerify(), schema }, async (request) => ({
  userId: (request.user as { sub: string }).sub,
}))
await fastify.listen({ port: Number(PORT), host: HOST })
