import type { FastifyPluginAsync } from 'fastify'
import { authorizationHeaderInvalid, secretKeyInvalid, tooManyRequests, urlNotFound } from '../clerk-error.ts'
import { applyFault } from '../faults.ts'
import type { EmulatorContext } from './context.ts'
import { answerJwks } from './frontend-api.ts'
import { organizationRoutes } from './organization-routes.ts'
import { sessionRoutes } from './session-routes.ts'
import { userRoutes } from './user-routes.ts'

/**
 * The Backend API, which requires the secret key.
 *
 * Source: https://clerk.com/docs/reference/backend-api.
 */
export const backendApi: FastifyPluginAsync<EmulatorContext> = async (app, context) => {
  const { faults, stats, instanceId, environmentType, secretKey, now } = context

  app.addHook('onRequest', async ({ headers }) => {
    const [scheme, key] = headers.authorization?.split(' ') ?? []
    if (scheme !== 'Bearer' || !key) throw authorizationHeaderInvalid()
    if (key !== secretKey) throw secretKeyInvalid()
  })

  // The 404 handler is in this scope, so that the key is checked before a caller learns which routes exist.
  app.setNotFoundHandler(() => {
    throw urlNotFound()
  })

  // Not rate limited, like at Clerk.
  app.get('/jwks', (request, reply) => {
    stats.backendJwksRequests++
    return answerJwks(context, request, reply)
  })

  await app.register(async (limited) => {
    limited.addHook('onRequest', async (request, reply) => {
      const waitSeconds = stats.countApiRequest(`${request.method} ${request.routeOptions.url}`, now())
      if (waitSeconds !== undefined) throw tooManyRequests(waitSeconds)
      await applyFault(faults.api, request, reply)
      return reply.sent ? reply : undefined
    })
    limited.get('/instance', async () => ({
      object: 'instance',
      id: instanceId,
      environment_type: environmentType,
      allowed_origins: null,
      workspace_id: null,
    }))
    // Called instead of registered, because the context already has the prefix, which must not be applied twice.
    await userRoutes(limited, context)
    await sessionRoutes(limited, context)
    await organizationRoutes(limited, context)
  })
}
