import fp from 'fastify-plugin'
import { errorHeaders, isServiceError } from '../errors.ts'

/**
 * Adds headers to errors of this service, under any error handler: `WWW-Authenticate` to a 401, `Retry-After` to a 503, and to a 401
 * or 403 its code, by which the client recognizes a refusal whatever the body is. Other errors are unchanged.
 */
export default fp(
  async (app) => {
    app.addHook('onError', async (_request, reply, error) => {
      if (!isServiceError(error)) return
      reply.headers(errorHeaders(error))
      if (error.statusCode === 401 || error.statusCode === 403) reply.header('x-auth-request-error', error.code)
    })
  },
  { name: 'clerk-error-headers', fastify: '5.x' },
)
