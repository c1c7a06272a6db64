import type { FastifyPluginAsync } from 'fastify'
import { parameterInvalid, parameterMissing } from '../clerk-error.ts'
import {
  invitationAnswer,
  type Membership,
  type MembershipPatch,
  type Organization,
  type OrganizationPatch,
  type Role,
  type RolePatch,
} from '../organization-json.ts'
import { first, integer, type Query } from '../query.ts'
import type { EmulatorContext } from './context.ts'

type Key<T> = (item: T) => string | number | null | undefined

/** The fields by which lists can be ordered, besides the time of creation. */
const ORDERS = {
  organization: { name: (item: Organization) => item.name, members_count: (item: Organization) => item.members_count },
  membership: {
    first_name: ({ public_user_data }: Membership) => public_user_data.first_name,
    last_name: ({ public_user_data }: Membership) => public_user_data.last_name,
    email_address: ({ public_user_data }: Membership) => public_user_data.identifier,
    phone_number: () => null,
    username: () => null,
  },
  role: { name: (item: Role) => item.name, key: (item: Role) => item.key },
  invitation: { email_address: (item: { email_address: string }) => item.email_address },
}

/**
 * A page of a list, like Clerk's for everything except users: with offsets, and without a cursor.
 *
 * @param items newest first
 * @throws ClerkError 422 for an order that this list does not have
 */
function page<T>(items: T[], query: Query, orders: Record<string, Key<T>>): { data: T[]; total_count: number } {
  const limit = integer(query, 'limit', { min: 1, max: 500, fallback: 10 })
  const offset = integer(query, 'offset', { min: 0, max: Number.MAX_SAFE_INTEGER, fallback: 0 })
  // An unescaped plus sign arrives as a space.
  const [, sign, name = ''] = /^([-+ ]?)(.*)$/s.exec(first(query.order_by) ?? '-created_at') as RegExpExecArray
  const key = Object.hasOwn(orders, name) ? orders[name] : undefined
  if (!key && name !== 'created_at') throw parameterInvalid('order_by', name)
  const oldestFirst = items.toReversed()
  const ascending = key ? oldestFirst.toSorted((a, b) => compareText(key(a), key(b))) : oldestFirst
  const ordered = sign === '-' ? ascending.toReversed() : ascending
  return { data: ordered.slice(offset, offset + limit), total_count: items.length }
}

/** Compares numbers by value and texts case-insensitively; missing values come last. */
const compareText = (a: ReturnType<Key<never>>, b: ReturnType<Key<never>>) =>
  a == null || b == null
    ? Number(a == null) - Number(b == null)
    : String(a).localeCompare(String(b), 'en', { numeric: true })

/** A body, which is optional. */
const some = <T extends object>(body: T | undefined): Partial<T> => body ?? {}

interface ById {
  Params: { id: string; userId: string; invitationId: string }
  Querystring: Query
}
type Body<T> = ById & { Body?: T }

/** `/v1/organizations`, with memberships, invitations and roles. */
export const organizationRoutes: FastifyPluginAsync<EmulatorContext> = async (app, { instance }) => {
  const { organizations } = instance

  app.get<ById>('/organizations', async ({ query }) => page(organizations.list(), query, ORDERS.organization))
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
      ORDERS.membership,
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
  app.get<ById>('/organization_memberships', async ({ query }) =>
    page(organizations.memberships(), query, ORDERS.membership),
  )
  app.get<ById>('/users/:id/organization_memberships', async ({ params, query }) => {
    instance.getUser(params.id)
    return page(organizations.memberships({ userId: params.id }), query, ORDERS.membership)
  })

  app.get<ById>('/organizations/:id/invitations', async ({ params, query }) =>
    page(organizations.invitations(params.id).map(invitationAnswer), query, ORDERS.invitation),
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
    return page(found.map(invitationAnswer), query, ORDERS.invitation)
  })

  app.get<ById>('/organization_roles', async ({ query }) => page(organizations.roles(), query, ORDERS.role))
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
