import type { FastifyPluginAsync } from 'fastify'
import { parameterMissing } from '../clerk-error.ts'
import { invitationAnswer, type MembershipPatch, type OrganizationPatch, type RolePatch } from '../organization-json.ts'
import { first, integer, type Query } from '../query.ts'
import type { EmulatorContext } from './context.ts'

/** A page of a list, as Clerk has it for everything but users: offsets, and no cursor. */
function page<T>(items: T[], query: Query): { data: T[]; total_count: number } {
  const limit = integer(query, 'limit', { min: 1, max: 500, fallback: 10 })
  const offset = integer(query, 'offset', { min: 0, max: Number.MAX_SAFE_INTEGER, fallback: 0 })
  // Newest first, unless asked for otherwise.
  const isAscending = first(query.order_by)?.startsWith('-') === false
  const ordered = isAscending ? items.toReversed() : items
  return { data: ordered.slice(offset, offset + limit), total_count: items.length }
}

/** A body may be left out. */
const some = <T extends object>(body: T | undefined): Partial<T> => body ?? {}

interface ById {
  Params: { id: string; userId: string; invitationId: string }
  Querystring: Query
}
type Body<T> = ById & { Body?: T }

/** `/v1/organizations` and what belongs to them. */
export const organizationRoutes: FastifyPluginAsync<EmulatorContext> = async (app, { instance }) => {
  const { organizations } = instance

  app.get<ById>('/organizations', async ({ query }) => page(organizations.list(), query))
  app.post<Body<OrganizationPatch>>('/organizations', async ({ body }) => organizations.create(some(body)))
  app.get<ById>('/organizations/:id', async ({ params }) => organizations.get(params.id))
  app.patch<Body<OrganizationPatch>>('/organizations/:id', async ({ params, body }) =>
    organizations.update(params.id, some(body)),
  )
  app.delete<ById>('/organizations/:id', async ({ params }) => organizations.delete(params.id))

  app.get<ById>('/organizations/:id/memberships', async ({ params, query }) => {
    organizations.get(params.id)
    const [userId] = [query.user_id ?? []].flat()
    return page(
      organizations.memberships({ organizationId: params.id, ...(userId !== undefined && { userId }) }),
      query,
    )
  })
  app.post<Body<MembershipPatch & { user_id?: string }>>('/organizations/:id/memberships', async ({ params, body }) => {
    if (typeof body?.user_id !== 'string') throw parameterMissing('user_id')
    const { user_id, ...patch } = body
    return organizations.addMember(params.id, user_id, patch)
  })
  app.patch<Body<MembershipPatch>>('/organizations/:id/memberships/:userId', async ({ params, body }) =>
    organizations.updateMember(params.id, params.userId, some(body)),
  )
  app.delete<ById>('/organizations/:id/memberships/:userId', async ({ params }) =>
    organizations.removeMember(params.id, params.userId),
  )
  app.get<ById>('/organization_memberships', async ({ query }) => page(organizations.memberships(), query))
  app.get<ById>('/users/:id/organization_memberships', async ({ params, query }) => {
    instance.getUser(params.id)
    return page(organizations.memberships({ userId: params.id }), query)
  })

  app.get<ById>('/organizations/:id/invitations', async ({ params, query }) =>
    page(organizations.invitations(params.id).map(invitationAnswer), query),
  )
  app.post<Body<{ email_address?: string; role?: string }>>(
    '/organizations/:id/invitations',
    async ({ params, body }) => {
      if (typeof body?.email_address !== 'string') throw parameterMissing('email_address')
      return invitationAnswer(organizations.invite(params.id, body.email_address, body.role))
    },
  )
  app.get<ById>('/organizations/:id/invitations/:invitationId', async ({ params }) =>
    invitationAnswer(organizations.getInvitation(params.invitationId)),
  )
  app.post<ById>('/organizations/:id/invitations/:invitationId/revoke', async ({ params }) =>
    invitationAnswer(organizations.revokeInvitation(params.invitationId)),
  )
  app.get<ById>('/organization_invitations', async ({ query }) => {
    const status = first(query.status)
    const found = organizations
      .invitations()
      .filter((invitation) => status === undefined || invitation.status === status)
    return page(found.map(invitationAnswer), query)
  })

  app.get<ById>('/organization_roles', async ({ query }) => page(organizations.roles(), query))
  app.post<Body<RolePatch>>('/organization_roles', async ({ body }) => {
    if (typeof body?.key !== 'string') throw parameterMissing('key')
    return organizations.createRole({ ...body, key: body.key })
  })
  app.get<ById>('/organization_roles/:id', async ({ params }) => organizations.getRole(params.id))
  app.patch<Body<RolePatch>>('/organization_roles/:id', async ({ params, body }) =>
    organizations.updateRole(params.id, some(body)),
  )
  app.delete<ById>('/organization_roles/:id', async ({ params }) => organizations.deleteRole(params.id))
}
