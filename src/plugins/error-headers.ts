import fp from 'fastify-plugin'
import { errorHeaders } from '../errors.ts'

/** Adds `WWW-Authenticate` to 401 and `Retry-After` to 503, whatever error handler the app has. */
export default fp(
  async (app) => {
    app.addHook('onError', async (_request, reply, error) => {
      reply.headers(errorHeaders(error))
    })
  },
  { name: 'clerk-error-headers', fastify: '5.x' },
)
