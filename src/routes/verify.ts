import { METHODS } from 'node:http'
import { type FastifyPluginAsyncTypebox, Type } from '@fastify/type-provider-typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { type Conditions, parseConditions } from '../domain/conditions.ts'
import { askedMethod, createOriginCheck } from '../domain/origin.ts'
import { errorReplyOf, UnknownCondition } from '../errors.ts'
import ignoreBody from './ignore-body.ts'
import { AUTH_ERRORS, BEARER } from './replies.ts'
import { describeIdentity, identityHeaders, NO_IDENTITY } from './verify-headers.ts'

export interface VerifyOptions {
  /** The origins whose preflights pass to the application without a token. */
  corsOrigins?: readonly string[]
}

declare module 'fastify' {
  interface FastifyRequest {
    /** The conditions in the proxy's query string. */
    clerkConditions: Conditions | null
  }
}

// Proxies use the method of the original request. CONNECT has no path, so it never arrives here.
const ANY_METHOD = METHODS.filter((method) => method !== 'CONNECT')

const isDescribed = (method: string) => /^(GET|PUT|POST|DELETE|OPTIONS|HEAD|PATCH|TRACE)$/.test(method)

const Allowed = Type.Null({ description: 'The proxy may forward the request', headers: describeIdentity() })

const param = (description: string) => Type.Optional(Type.String({ description }))
const Query = Type.Object({
  role: param('The role that the user must have in the active organization, such as `org:admin`'),
  permission: Type.Optional(
    Type.Array(Type.String(), {
      description: 'A permission that the user must have, such as `org:posts:edit`; repeatable, all are required',
    }),
  ),
  organization: param('Id or slug of the organization that must be active'),
  plan: param('`pro`, `user:pro` or `org:team`'),
  feature: param('As `plan`'),
  maxFactorAge: param('The most minutes since the first factor was verified'),
  maxSecondFactorAge: param(
    'The most minutes since the second factor was verified, or the first one if the user has no second',
  ),
})

const DESCRIPTION = `The code of a refusal is also in \`X-Auth-Request-Error\`, for proxies that drop its body. All identity headers
are always sent, empty if they have no value. A CORS preflight from one of \`CORS_ORIGINS\` passes without a token.`

/**
 * `/api/auth/verify` and below it: forward-auth for nginx `auth_request`, Caddy, HAProxy, Traefik and Envoy. 200 with an empty
 * body and the user in headers, or the refusal. Only the first path accepts conditions as query parameters: below it, path and
 * query are the client's.
 */
const verify: FastifyPluginAsyncTypebox<VerifyOptions> = async (app, { corsOrigins = [] }) => {
  await app.register(ignoreBody)
  const isTrusted = createOriginCheck(corsOrigins)
  app.decorateRequest('clerkConditions', null)
  // nginx drops the body of a refusal, but not its headers. The empty identity headers replace those that a client sent.
  app.addHook('onError', async (_request, reply, { statusCode = 500, code }) => {
    reply.headers(NO_IDENTITY)
    if (statusCode !== 500) reply.header('x-auth-request-error', code)
  })
  for (const method of ANY_METHOD) {
    if (!app.supportedMethods.includes(method)) app.addHttpMethod(method, { hasBody: true })
  }

  async function passPreflight({ headers, method }: FastifyRequest, reply: FastifyReply) {
    const isPreflight =
      askedMethod(method, headers) === 'OPTIONS' && headers['access-control-request-method'] !== undefined
    // A preflight has no credential; the application answers it.
    if (isPreflight && isTrusted(headers.origin)) return reply.headers(NO_IDENTITY).send()
  }

  async function allow(request: FastifyRequest, reply: FastifyReply) {
    await app.clerkCheckConditions(request, request.clerkConditions ?? {})
    // An empty body, without the `null` of the schema.
    return reply.headers(identityHeaders(request)).send()
  }

  // OpenAPI describes only eight methods; the others are served too.
  const methods = { shown: ANY_METHOD.filter(isDescribed), hidden: ANY_METHOD.filter((method) => !isDescribed(method)) }
  for (const [visibility, method] of Object.entries(methods)) {
    const schema = {
      hide: visibility === 'hidden',
      tags: ['auth'],
      summary: 'Forward-auth: whether a proxy may forward the request',
      description: DESCRIPTION,
      response: { 200: Allowed, ...AUTH_ERRORS },
    }
    // No CORS here: an OPTIONS request asks about the original request, and is not a preflight for this route.
    const config = { cors: false, isForwardAuth: true, isPrivate: true, credentials: BEARER } as const
    // Proxies copy the Content-Length, but do not send the body.
    const bodyLimit = Number.MAX_SAFE_INTEGER
    app.route({
      method,
      bodyLimit,
      url: '/api/auth/verify',
      config,
      schema: {
        ...schema,
        querystring: Query,
        response: { ...schema.response, 400: errorReplyOf(UnknownCondition, 'rol') },
      },
      onRequest: [readConditions, passPreflight, app.requireClerkUser()],
      handler: allow,
    })
    app.route({
      method,
      bodyLimit,
      url: '/api/auth/verify/*',
      config,
      schema,
      onRequest: [passPreflight, app.requireClerkUser()],
      handler: allow,
    })
  }
}
export default verify

// Before the token check, so that a mistake in a proxy's settings shows in every answer.
async function readConditions(request: FastifyRequest) {
  const [, query = ''] = request.url.split('?', 2)
  const conditions = parseConditions(query)
  if ('bad' in conditions) throw new UnknownCondition(conditions.bad)
  request.clerkConditions = conditions
}
