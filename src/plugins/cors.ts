import type { FastifyReply } from 'fastify'
import fp from 'fastify-plugin'
import { createOriginCheck } from '../domain/origin.ts'
import { addVary } from './private-replies.ts'

export interface CorsOptions {
  /** The origins whose pages may call and read replies; `*` allows any origin, without cookies. */
  origins: readonly string[]
}

declare module 'fastify' {
  interface FastifyContextConfig {
    /** False turns CORS off for the route, both this plugin's and that of @fastify/cors. */
    cors?: false
    /** Whether this plugin's CORS applies; decided when the route is declared. */
    clerkCors?: boolean
  }
}

const METHODS = 'GET, HEAD, POST'
const EXPOSED = 'Retry-After, WWW-Authenticate, X-Auth-Request-Error'
const MAX_AGE_SECONDS = '600'

/**
 * CORS for the routes of its own context only (https://fetch.spec.whatwg.org/#http-cors-protocol). @fastify/cors is not used
 * because its decorator and route are global: a host application that registers it too could not start.
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
      // With forward-auth, the application behind the proxy answers preflights.
      if (request.method !== 'OPTIONS' || config.isForwardAuth) return done()
      addVary(reply, ['Access-Control-Request-Headers'])
      const asked = request.headers['access-control-request-headers']
      if (asked !== undefined) reply.header('access-control-allow-headers', asked)
      reply
        .code(204)
        .headers({
          'access-control-allow-methods': METHODS,
          'access-control-max-age': MAX_AGE_SECONDS,
          // Without it some browsers wait for a body.
          'content-length': '0',
        })
        .send()
    })

    // Each path gets an OPTIONS route, so that the hook above answers preflights before any guard.
    const answered = new Set<string>()
    app.addHook('onRoute', function answerPreflights(route) {
      const { cors, isForwardAuth = false } = route.config ?? {}
      const clerkCors = cors !== false || isForwardAuth
      // False for the host application's @fastify/cors, which would answer with its own origins.
      route.config = { ...route.config, clerkCors, cors: false }
      if (isForwardAuth || !clerkCors || route.schema?.hide || answered.has(route.url)) return
      answered.add(route.url)
      this.options(route.routePath, { schema: { hide: true } }, (_request, reply) => reply.code(204).send())
    })
  },
  { name: 'clerk-cors', fastify: '5.x' },
)
