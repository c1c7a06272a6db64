import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { AUTH_ERRORS, BEARER, UserReply } from './replies.ts'

/** `GET /api/auth/profile`: the caller's row. A user without a row is synced first. */
const profile: FastifyPluginAsyncTypebox = async (app) => {
  app.get(
    '/api/auth/profile',
    {
      config: { isPrivate: true, credentials: BEARER },
      onRequest: app.requireClerkUser(),
      schema: {
        tags: ['auth'],
        summary: 'The signed-in user',
        response: { 200: UserReply, ...AUTH_ERRORS },
      },
    },
    async (request) => ({ user: request.clerkUser as NonNullable<typeof request.clerkUser> }),
  )
}
export default profile
