import type { FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import { applyFault } from '../faults.ts'
import type { EmulatorContext } from './context.ts'

/** The public part of a Clerk instance: its signing keys. */
export const frontendApi: FastifyPluginAsync<EmulatorContext> = async (app, context) => {
  const { issuer } = context

  app.get('/.well-known/jwks.json', (request, reply) => {
    context.stats.jwksRequests++
    return answerJwks(context, request, reply)
  })

  app.get('/.well-known/openid-configuration', async () => ({
    issuer: issuer(),
    jwks_uri: `${issuer()}/.well-known/jwks.json`,
    authorization_endpoint: `${issuer()}/oauth/authorize`,
    token_endpoint: `${issuer()}/oauth/token`,
    userinfo_endpoint: `${issuer()}/oauth/userinfo`,
    response_types_supported: ['code'],
    subject_types_supported: ['public'],
    id_token_signing_alg_values_supported: ['RS256'],
    scopes_supported: ['openid', 'profile', 'email', 'public_metadata', 'private_metadata'],
    claims_supported: ['sub', 'iss', 'aud', 'exp', 'iat'],
  }))
}

/** The JWKS of the Frontend API and the Backend API, subject to faults. */
export async function answerJwks(
  { keys, faults }: EmulatorContext,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<unknown> {
  await applyFault(faults.jwks, request, reply)
  return reply.sent ? reply : keys.toJwks()
}
