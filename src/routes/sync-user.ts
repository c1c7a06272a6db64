import { type FastifyPluginAsyncTypebox, Type } from '@fastify/type-provider-typebox'
import { errorReplySchemas } from '../errors.ts'
import { USER_EXAMPLE, User } from '../resources/user/payload.ts'
import ignoreBody from './ignore-body.ts'
import { AUTH_ERRORS, BEARER } from './replies.ts'

const SyncReply = Type.Object({
  user: User,
  created: Type.Boolean({ description: 'Whether this call created the row' }),
  source: Type.Unsafe<'clerk_api' | 'session_claims' | 'database'>({
    type: 'string',
    enum: ['clerk_api', 'session_claims', 'database'],
    description: "The source of the profile: Clerk's Backend API, the token's claims, or the existing row",
  }),
})
const syncReply = (description: string, created: boolean) => ({
  ...SyncReply,
  description,
  examples: [{ user: USER_EXAMPLE, created, source: 'clerk_api' }],
})

/** `POST /api/auth/sync-user`: brings the caller's row up to date. May be repeated; any request body is ignored. */
const syncUser: FastifyPluginAsyncTypebox = async (app) => {
  await app.register(ignoreBody)
  app.post(
    '/api/auth/sync-user',
    {
      bodyLimit: 16_384,
      config: { isPrivate: true, credentials: BEARER },
      schema: {
        tags: ['auth'],
        summary: 'Bring the row of the signed-in user up to date',
        response: {
          200: syncReply('The row existed, and is now as new as its source', false),
          201: syncReply('The row was created', true),
          ...AUTH_ERRORS,
          ...errorReplySchemas(413),
        },
      },
    },
    async (request, reply) => {
      const result = await app.clerkSyncUser(request)
      return reply.code(result.created ? 201 : 200).send(result)
    },
  )
}
export default syncUser
