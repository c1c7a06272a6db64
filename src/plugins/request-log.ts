import fp from 'fastify-plugin'

/** One line a request, when it is answered; probes only at level debug. Fastify's own two lines should be off. */
export default fp(
  async (app) => {
    app.addHook('onResponse', (request, reply, done) => {
      const level = request.routeOptions.config.servesWhileClosing ? 'debug' : 'info'
      request.log[level](
        {
          method: request.method,
          // The pattern, since a path or a query may hold what no log should.
          route: request.routeOptions.url ?? 'none',
          statusCode: reply.statusCode,
          durationMs: Math.round(reply.elapsedTime * 100) / 100,
          userId: request.clerkAuth?.userId,
        },
        'request',
      )
      done()
    })
  },
  { name: 'clerk-request-log', fastify: '5.x' },
)
