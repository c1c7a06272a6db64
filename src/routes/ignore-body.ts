import { errorCodes } from 'fastify'
import fp from 'fastify-plugin'

/** Leaves request bodies of any type unread. Register it in a separate context. */
export default fp(
  async (app) => {
    // Fastify refuses an unknown content type (415), and a QUERY without one (400).
    app.addHook('onRequest', ({ headers, method }, _reply, done) => {
      if (headers['content-type'] !== undefined || method === 'QUERY')
        headers['content-type'] = 'application/octet-stream'
      done()
    })
    app.removeAllContentTypeParsers()
    app.addContentTypeParser('*', ({ headers, routeOptions }, _payload, done) => {
      const isTooLarge = Number(headers['content-length']) > routeOptions.bodyLimit
      done(isTooLarge ? new errorCodes.FST_ERR_CTP_BODY_TOO_LARGE() : null, undefined)
    })
  },
  { name: 'clerk-ignore-body', fastify: '5.x' },
)
