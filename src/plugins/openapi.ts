import helmet from '@fastify/helmet'
import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import type { TSchema } from '@sinclair/typebox'
import type { FastifyContextConfig } from 'fastify'
import fp from 'fastify-plugin'
import { errorReplySchemas } from '../errors.ts'
import { describePush } from './changes/openapi.ts'
import { checkOptions, flag, optionsOf, text } from './check-options.ts'
import { readSwaggerFiles } from './swagger-files.ts'
import { describeWebhooks } from './webhooks/openapi.ts'

export interface OpenapiOptions {
  version: string
  /** Whether to describe the webhooks that Clerk sends. */
  receivesWebhooks?: boolean
  /** Whether to describe reading the change feed, and the webhooks that it sends. */
  readsChanges?: boolean
  pushesChanges?: boolean
}

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The security schemes of the route. Not in its schema, because the host application's document does not define these schemes. */
    credentials?: Record<string, string[]>[]
  }
}

// The hash of the style that swagger-ui's script adds to its page. A browser test fails if a new version changes it.
const STYLE = "'sha256-RL3ie0nH+Lzz2YNqQN83mnU0J1ot4QL7b99vMdIX99w='"

const CHANGES_TAG = {
  name: 'changes',
  description: 'For services that react when a user, session or other entity is created, updated or deleted',
}

const DESCRIPTION = `Keeps a backend's users table in sync with Clerk, so that every valid session has a user in the backend.

Every error has one shape, and its code says what to do. A 401 always means that the token or the session is bad;
a problem of the service itself is a 503 with \`Retry-After\`. An unknown path is a 404, \`NOT_FOUND\`.`

const OPTIONS = optionsOf<OpenapiOptions>({
  version: text('a version'),
  receivesWebhooks: flag,
  readsChanges: flag,
  pushesChanges: flag,
})

/** Serves the OpenAPI description of every route registered after it, at `/docs` (a page) and `/docs/json`. */
export default fp<OpenapiOptions>(
  async (app, options) => {
    checkOptions('clerkOpenapi', OPTIONS, options)
    const { version, receivesWebhooks = false, readsChanges = false, pushesChanges = false } = options
    await app.register(swagger, {
      transform: ({ schema, url, route }) => {
        const { credentials } = (route.config ?? {}) as FastifyContextConfig
        return { schema: credentials ? { ...schema, security: credentials } : schema, url }
      },
      openapi: {
        openapi: '3.1.0',
        info: {
          title: 'clerk-session-sync',
          version,
          description: DESCRIPTION,
          license: { name: 'MIT', identifier: 'MIT' },
        },
        ...((receivesWebhooks || pushesChanges) && {
          webhooks: { ...(receivesWebhooks && describeWebhooks()), ...(pushesChanges && describePush()) },
        }),
        tags: [
          { name: 'auth', description: 'Called by SPAs and by proxies, with a Clerk session token' },
          { name: 'webhooks', description: 'Called by Clerk, through Svix' },
          ...(readsChanges || pushesChanges ? [CHANGES_TAG] : []),
          { name: 'operations', description: 'Called by load balancers and operators' },
          { name: 'dashboard', description: 'Called by the page at /dashboard' },
        ],
        components: {
          responses: { NotFound: notFound() },
          securitySchemes: {
            bearerToken: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT', description: 'A Clerk session token' },
            sessionCookie: {
              type: 'apiKey',
              in: 'cookie',
              name: '__session',
              description: 'Or __session_<suffix>; accepted only if CLERK_AUTHORIZED_PARTIES is set',
            },
            svixSignature: {
              type: 'apiKey',
              in: 'header',
              name: 'svix-signature',
              description: 'Made by Svix from `svix-id`, `svix-timestamp` and the raw body, with the signing secret',
            },
            ...(readsChanges && {
              changesToken: { type: 'http' as const, scheme: 'bearer', description: 'CHANGES_TOKEN' },
            }),
            dashboardToken: { type: 'http', scheme: 'bearer', description: 'DASHBOARD_TOKEN' },
          },
        },
      },
    })
    await app.register(async (pages) => {
      // A stricter form of swagger-ui's policy; helmet adds the other security headers.
      await pages.register(helmet, { contentSecurityPolicy: false })
      // @fastify/swagger-ui serialises the document and opens the files for each request, so peers that never read could pile up
      // copies. Here all replies share one buffer per file.
      const files = readSwaggerFiles(pages.swagger)
      pages.addHook('onRequest', async ({ url }, reply) => {
        const file = files.get(url.split('?', 1)[0] as string)
        return file && reply.type(file.type).send(file.content)
      })
      await pages.register(swaggerUi, {
        routePrefix: '/docs',
        staticCSP: true,
        transformStaticCSP: (policy) => policy.replace("style-src 'self' https:", `style-src 'self' ${STYLE}`),
        uiConfig: { docExpansion: 'list' },
      })
    })
  },
  { name: 'clerk-openapi', fastify: '5.x' },
)

// Thrown for unknown files, like for an unknown route.
function notFound() {
  const { description, 'x-examples': examples, ...schema } = errorReplySchemas(404)[404] as TSchema
  return { description: description as string, content: { 'application/json': { schema, examples } } }
}
