import fp from 'fastify-plugin'

/** Logs one line per request, when it is answered; probes only at level debug. Turn off Fastify's own request logging. */
export default fp(
  async (app) => {
    app.addHook('onResponse', (request, reply, done) => {
      const level = request.routeOptions.config.servesWhileClosing ? 'debug' : 'info'
      request.log[level](
        {
          method: request.method,
          // The route's pattern, because a path or query may contain secrets or personal data.
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
