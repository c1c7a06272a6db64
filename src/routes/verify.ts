import { METHODS } from 'node:http'
import { type FastifyPluginAsyncTypebox, Type } from '@fastify/type-provider-typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import ignoreBody from './ignore-body.ts'
import { AUTH_ERRORS, BEARER } from './replies.ts'

// Proxies repeat the method of the request that they ask for. CONNECT has no path and never arrives here.
const ANY_METHOD = METHODS.filter((method) => method !== 'CONNECT')

const isDescribed = (method: string) => /^(GET|PUT|POST|DELETE|OPTIONS|HEAD|PATCH|TRACE)$/.test(method)

const Allowed = Type.Null({
  description: 'Pass the request on',
  headers: {
    'X-Auth-Request-User': { type: 'string', description: "Clerk's user id" },
    'X-Auth-Request-Email': {
      type: 'string',
      description: 'Percent-encoded when it is not Latin-1; absent when there is none',
    },
    'X-Auth-Request-Session': { type: 'string', description: "Clerk's session id" },
  },
})

/**
 * `/api/auth/verify` and below it: forward-auth for nginx `auth_request`, Traefik, Caddy and Envoy. 200 with an empty body
 * and the user in headers, or the refusal, whose code is in `X-Auth-Request-Error` as well.
 */
const verify: FastifyPluginAsyncTypebox = async (app) => {
  await app.register(ignoreBody)
  // nginx throws the body of a refusal away; its headers can be read.
  app.addHook('onError', async (_request, reply, { statusCode = 500, code }) => {
    if (statusCode !== 500) reply.header('x-auth-request-error', code)
  })
  for (const method of ANY_METHOD) {
    if (!app.supportedMethods.includes(method)) app.addHttpMethod(method, { hasBody: true })
  }
  // OpenAPI knows eight methods; the others are served all the same.
  const methods = { shown: ANY_METHOD.filter(isDescribed), hidden: ANY_METHOD.filter((method) => !isDescribed(method)) }
  for (const url of ['/api/auth/verify', '/api/auth/verify/*']) {
    for (const [visibility, method] of Object.entries(methods)) {
      app.route({
        method,
        url,
        onRequest: app.requireClerkUser(),
        // Proxies repeat the length of a body that they do not send.
        bodyLimit: Number.MAX_SAFE_INTEGER,
        // Not for pages: an OPTIONS here is somebody's request, not a preflight of ours.
        config: { cors: false },
        schema: {
          hide: visibility === 'hidden',
          tags: ['auth'],
          summary: 'Forward-auth: whether a proxy may pass the request on',
          description: 'A refusal has its code in `X-Auth-Request-Error`, too, for proxies that drop its body.',
          security: BEARER,
          response: { 200: Allowed, ...AUTH_ERRORS },
        },
        handler: allow,
      })
    }
  }
}
export default verify

async function allow({ clerkUser, clerkAuth }: FastifyRequest, reply: FastifyReply) {
  reply.header('x-auth-request-user', clerkUser?.id)
  if (clerkUser?.email) reply.header('x-auth-request-email', toHeader(clerkUser.email))
  if (clerkAuth?.sessionId) reply.header('x-auth-request-session', clerkAuth.sessionId)
  // Nothing at all, not even the `null` of the schema.
  return reply.header('cache-control', 'no-store').send()
}

// Headers carry Latin-1 without controls (RFC 9110, section 5.5).
const toHeader = (text: string) => (/^[\x20-\x7e\xa0-\xff]*$/.test(text) ? text : encodeURI(text))
