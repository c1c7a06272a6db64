import helmet from '@fastify/helmet'
import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import type { TSchema } from '@sinclair/typebox'
import type { FastifyContextConfig } from 'fastify'
import fp from 'fastify-plugin'
import { errorReplySchemas } from '../errors.ts'
import { describePush } from './changes/openapi.ts'
import { refusePrefix } from './refuse-prefix.ts'
import { readSwaggerFiles } from './swagger-files.ts'
import { describeWebhooks } from './webhooks/openapi.ts'

export interface OpenapiOptions {
  version: string
  /** Describes what Clerk sends, too. */
  receivesWebhooks?: boolean
  /** Describes the reading of the change feed, and what it sends. */
  readsChanges?: boolean
  pushesChanges?: boolean
}

declare module 'fastify' {
  interface FastifyContextConfig {
    /** What the route needs, by its names in this document. Not in the schema: the document of an application around us has no such names, and could not be made. */
    credentials?: Record<string, string[]>[]
  }
}

// The one style that swagger-ui's script adds to its page. Another version may add another: a test in a browser tells.
const STYLE = "'sha256-RL3ie0nH+Lzz2YNqQN83mnU0J1ot4QL7b99vMdIX99w='"

const CHANGES_TAG = {
  name: 'changes',
  description: 'Called by whoever acts when a user, a session… appears, changes or goes',
}

const DESCRIPTION = `Keeps a backend's users table in step with Clerk: no valid session meets a backend without its user.

Every error has one shape, and its code says what to do. A 401 says that the token or the session is no good, and nothing else;
trouble on this side is a 503 with \`Retry-After\`. A path that is not here is a 404, \`NOT_FOUND\`.`

/** Serves the OpenAPI description of every route registered after it, at `/docs` (a page) and `/docs/json`. */
export default fp<OpenapiOptions>(
  async (app, options) => {
    refusePrefix('clerkOpenapi', options)
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
              description: 'Or __session_<suffix>; only where CLERK_AUTHORIZED_PARTIES is set',
            },
            svixSignature: {
              type: 'apiKey',
              in: 'header',
              name: 'svix-signature',
              description: 'Made by Svix of `svix-id`, `svix-timestamp` and the raw body, with the signing secret',
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
      // The policy is swagger-ui's, narrowed; helmet adds the other headers of a page.
      await pages.register(helmet, { contentSecurityPolicy: false })
      // swagger-ui serialises the document for each request and streams its files from the disk: peers that never read would
      // pile up copies. Here each is one buffer, which all replies share.
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

// Of no route, and so of none of those that are described.
function notFound() {
  const { description, 'x-examples': examples, ...schema } = errorReplySchemas(404)[404] as TSchema
  return { description: description as string, content: { 'application/json': { schema, examples } } }
}
