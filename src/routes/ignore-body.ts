import { errorCodes } from 'fastify'
import fp from 'fastify-plugin'

/** Leaves the request's body unread, whatever it claims to be. For a context of its own. */
export default fp(
  async (app) => {
    // Fastify refuses a type that it cannot read (415), and QUERY without any (400). A POST without a body it reads as none.
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
