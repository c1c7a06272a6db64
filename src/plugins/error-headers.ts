import fp from 'fastify-plugin'
import { errorHeaders, isServiceError } from '../errors.ts'

/** Adds `WWW-Authenticate` to our 401 and `Retry-After` to our 503, whatever error handler the app has; its own errors stay. */
export default fp(
  async (app) => {
    app.addHook('onError', async (_request, reply, error) => {
      if (isServiceError(error)) reply.headers(errorHeaders(error))
    })
  },
  { name: 'clerk-error-headers', fastify: '5.x' },
)
