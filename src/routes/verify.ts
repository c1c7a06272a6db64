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
  /** The origins whose preflights are let through to the application. */
  corsOrigins?: readonly string[]
}

declare module 'fastify' {
  interface FastifyRequest {
    /** What the proxy demands of the user. */
    clerkConditions: Conditions | null
  }
}

// Proxies repeat the method of the request that they ask for. CONNECT has no path and never arrives here.
const ANY_METHOD = METHODS.filter((method) => method !== 'CONNECT')

const isDescribed = (method: string) => /^(GET|PUT|POST|DELETE|OPTIONS|HEAD|PATCH|TRACE)$/.test(method)

const Allowed = Type.Null({ description: 'Pass the request on', headers: describeIdentity() })

const param = (description: string) => Type.Optional(Type.String({ description }))
const Query = Type.Object({
  role: param('`org:admin`: the role that the user must have in the active organization'),
  permission: Type.Optional(
    Type.Array(Type.String(), { description: '`org:posts:edit`; repeatable, and all of them are needed' }),
  ),
  organization: param('Id or slug of the organization that must be the active one'),
  plan: param('`pro`, `user:pro` or `org:team`'),
  feature: param('As `plan`'),
  maxFactorAge: param('Minutes since the first factor was verified, at most'),
  maxSecondFactorAge: param('The same of the second factor; without one, of the first'),
})

const DESCRIPTION = `A refusal has its code in \`X-Auth-Request-Error\`, too, for proxies that drop its body. The identity headers
always come, empty where there is nothing to say. A CORS preflight from one of \`CORS_ORIGINS\` passes without a token.`

/**
 * `/api/auth/verify` and below it: forward-auth for nginx `auth_request`, Caddy, HAProxy, Traefik and Envoy. 200 with an empty
 * body and the user in headers, or the refusal. Conditions are query parameters of the first path alone: below it, path and query
 * are those of the client.
 */
const verify: FastifyPluginAsyncTypebox<VerifyOptions> = async (app, { corsOrigins = [] }) => {
  await app.register(ignoreBody)
  const isTrusted = createOriginCheck(corsOrigins)
  app.decorateRequest('clerkConditions', null)
  // nginx throws the body of a refusal away; its headers can be read. Empty ones replace what a client sent.
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
    // It carries no credential, and the application answers it.
    if (isPreflight && isTrusted(headers.origin)) return reply.headers(NO_IDENTITY).send()
  }

  async function allow(request: FastifyRequest, reply: FastifyReply) {
    await app.clerkCheckConditions(request, request.clerkConditions ?? {})
    // Nothing at all, not even the `null` of the schema.
    return reply.headers(identityHeaders(request)).send()
  }

  // OpenAPI knows eight methods; the others are served all the same.
  const methods = { shown: ANY_METHOD.filter(isDescribed), hidden: ANY_METHOD.filter((method) => !isDescribed(method)) }
  for (const [visibility, method] of Object.entries(methods)) {
    const schema = {
      hide: visibility === 'hidden',
      tags: ['auth'],
      summary: 'Forward-auth: whether a proxy may pass the request on',
      description: DESCRIPTION,
      response: { 200: Allowed, ...AUTH_ERRORS },
    }
    // Not for pages: an OPTIONS here is somebody's request, not a preflight of ours.
    const config = { cors: false, isForwardAuth: true, isPrivate: true, credentials: BEARER } as const
    // Proxies repeat the length of a body that they do not send.
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

// Before the token: a mistake in a proxy's settings shows in every answer.
async function readConditions(request: FastifyRequest) {
  const [, query = ''] = request.url.split('?', 2)
  const conditions = parseConditions(query)
  if ('bad' in conditions) throw new UnknownCondition(conditions.bad)
  request.clerkConditions = conditions
}
