import helmet from '@fastify/helmet'
import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import fp from 'fastify-plugin'

export interface OpenapiOptions {
  version: string
}

/** Serves the OpenAPI description of every route registered after it, at `/docs` (a page) and `/docs/json`. */
export default fp<OpenapiOptions>(
  async (app, { version }) => {
    await app.register(swagger, {
      openapi: {
        openapi: '3.1.0',
        info: {
          title: 'clerk-session-sync',
          version,
          description:
            "Keeps a backend's users table in step with Clerk: no valid session meets a backend without its user.",
          license: { name: 'MIT' },
        },
        tags: [
          { name: 'auth', description: 'Called by SPAs and by proxies, with a Clerk session token' },
          { name: 'webhooks', description: 'Called by Clerk, through Svix' },
          { name: 'operations', description: 'Called by load balancers and operators' },
          { name: 'dashboard', description: 'Called by the page at /dashboard' },
        ],
        components: {
          securitySchemes: {
            bearerToken: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT', description: 'A Clerk session token' },
            sessionCookie: {
              type: 'apiKey',
              in: 'cookie',
              name: '__session',
              description: 'Only where CLERK_AUTHORIZED_PARTIES is set',
            },
            svixSignature: { type: 'apiKey', in: 'header', name: 'svix-signature', description: 'Made by Svix' },
            dashboardToken: { type: 'http', scheme: 'bearer', description: 'DASHBOARD_TOKEN' },
          },
        },
      },
    })
    await app.register(async (pages) => {
      // The policy is swagger-ui's, made of the hashes of its own scripts; helmet adds the other headers of a page.
      await pages.register(helmet, { contentSecurityPolicy: false })
      await pages.register(swaggerUi, { routePrefix: '/docs', staticCSP: true, uiConfig: { docExpansion: 'list' } })
    })
  },
  { name: 'clerk-openapi', fastify: '5.x' },
)
