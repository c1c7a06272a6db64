import { type FastifyPluginAsyncTypebox, Type } from '@fastify/type-provider-typebox'
import { ORGANIZATION_EXAMPLE, Organization } from '../resources/organization/payload.ts'
import { AUTH_ERRORS, BEARER } from './replies.ts'

const OrganizationsReply = Type.Object(
  {
    active: Type.Unsafe<string | null>({
      type: ['string', 'null'],
      description: "Id of the token's organization; null if there is none, or if its membership has ended",
    }),
    organizations: Type.Array(Organization),
  },
  {
    description: 'The organizations of the user, by name',
    examples: [{ active: ORGANIZATION_EXAMPLE.id, organizations: [ORGANIZATION_EXAMPLE] }],
  },
)

/** `GET /api/auth/organizations`: the caller's current memberships. A user without a row is synced first. */
const organizations: FastifyPluginAsyncTypebox = async (app) => {
  app.get(
    '/api/auth/organizations',
    {
      onRequest: app.requireClerkUser(),
      config: { isPrivate: true, credentials: BEARER },
      schema: {
        tags: ['auth'],
        summary: 'The organizations of the signed-in user',
        response: { 200: OrganizationsReply, ...AUTH_ERRORS },
      },
    },
    async (request) => app.clerkListOrganizations(request),
  )
}
export default organizations
