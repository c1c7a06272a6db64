import fp from 'fastify-plugin'
import { errorHeaders, isServiceError } from '../errors.ts'

/** Adds `WWW-Authenticate` to a 401 and `Retry-After` to a 503 of this service, under any error handler. Other errors are unchanged. */
export default fp(
  async (app) => {
    app.addHook('onError', async (_request, reply, error) => {
      if (isServiceError(error)) reply.headers(errorHeaders(error))
    })
  },
  { name: 'clerk-error-headers', fastify: '5.x' },
)
