import type { FastifyReply } from 'fastify'
import fp from 'fastify-plugin'
import { createOriginCheck } from '../domain/origin.ts'
import { addVary } from './private-replies.ts'

export interface CorsOptions {
  /** The origins whose pages may call and read replies; `*` is any, without cookies. */
  origins: readonly string[]
}

declare module 'fastify' {
  interface FastifyContextConfig {
    /** False keeps CORS off the route, ours and that of @fastify/cors. */
    cors?: false
    /** Whether ours applies; decided when the route is declared. */
    clerkCors?: boolean
  }
}

const METHODS = 'GET, HEAD, POST'
const EXPOSED = 'Retry-After, WWW-Authenticate'
const MAX_AGE_SECONDS = '600'

/**
 * CORS for the routes of its own context, and no others (https://fetch.spec.whatwg.org/#http-cors-protocol). @fastify/cors adds a
 * decorator and a route for the whole application, so that an application with its own could not start.
 */
export default fp<CorsOptions>(
  async (app, options) => {
    const isAny = options.origins.includes('*')
    const isAllowed = createOriginCheck(options.origins)

    function addHeaders(origin: string | undefined, reply: FastifyReply): void {
      if (!isAny) addVary(reply, ['Origin'])
      if (!isAny && !isAllowed(origin)) return
      reply.header('access-control-allow-origin', isAny ? '*' : origin)
      reply.header('access-control-expose-headers', EXPOSED)
      if (!isAny) reply.header('access-control-allow-credentials', 'true')
    }

    app.addHook('onRequest', (request, reply, done) => {
      const { config } = request.routeOptions
      if (config.clerkCors === false) return done()
      addHeaders(request.headers.origin, reply)
      // Preflights of forward-auth go to the application behind the proxy.
      if (request.method !== 'OPTIONS' || config.isForwardAuth) return done()
      addVary(reply, ['Access-Control-Request-Headers'])
      const asked = request.headers['access-control-request-headers']
      if (asked !== undefined) reply.header('access-control-allow-headers', asked)
      reply
        .code(204)
        .headers({
          'access-control-allow-methods': METHODS,
          'access-control-max-age': MAX_AGE_SECONDS,
          // Some browsers wait for a body without it.
          'content-length': '0',
        })
        .send()
    })

    // A route of its own for each path, whose preflights the hook above answers before any guard.
    const answered = new Set<string>()
    app.addHook('onRoute', function answerPreflights(route) {
      const { cors, isForwardAuth = false } = route.config ?? {}
      const clerkCors = cors !== false || isForwardAuth
      // False for the @fastify/cors of an application around us: it would answer with its own origins.
      route.config = { ...route.config, clerkCors, cors: false }
      if (isForwardAuth || !clerkCors || route.schema?.hide || answered.has(route.url)) return
      answered.add(route.url)
      this.options(route.routePath, { schema: { hide: true } }, (_request, reply) => reply.code(204).send())
    })
  },
  { name: 'clerk-cors', fastify: '5.x' },
)
