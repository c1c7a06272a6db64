import { type Static, type TSchema, Type } from '@sinclair/typebox'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import {
  Invitation,
  Membership,
  MembershipPatch,
  Organization,
  OrganizationPatch,
  Role,
  RolePatch,
} from '../organization-json.ts'
import { Session } from '../schemas.ts'
import type { EmulatorContext } from './context.ts'

interface Params {
  id: string
  userId: string
}

const NewMember = Type.Composite([MembershipPatch, Type.Object({ userId: Type.String() })])
const NewRole = Type.Composite([RolePatch, Type.Object({ key: Type.String() })])
const NewInvitation = Type.Object({ email: Type.String(), role: Type.Optional(Type.String()) })
const Accepted = Type.Object({ userId: Type.String() })
const Choice = Type.Object({ organizationId: Type.Union([Type.String(), Type.Null()]) })
const Deleted = Type.Object({ object: Type.String(), id: Type.String(), deleted: Type.Literal(true) })
const All = Type.Object({
  organizations: Type.Array(Organization),
  memberships: Type.Array(Membership),
  roles: Type.Array(Role),
  invitations: Type.Array(Invitation),
})

/** The organization routes of the control API, under `/emulator`. */
export async function organizationControls(app: FastifyInstance, { instance }: EmulatorContext): Promise<void> {
  const { organizations } = instance

  function on<T extends TSchema, R extends TSchema>(
    method: 'POST' | 'PATCH' | 'DELETE',
    url: string,
    [body, answer]: [T, R],
    act: (params: Params, body: Static<T>) => Static<R>,
  ): void {
    app.route({
      method,
      url,
      schema: { body, response: { 200: answer } },
      handler: async ({ params, body }: FastifyRequest) => act(params as Params, body as Static<T>),
    })
  }
  const end = <R extends TSchema>(url: string, answer: R, act: (params: Params) => Static<R>) =>
    on('DELETE', url, [Type.Unknown(), answer], act)

  app.get('/organizations', { schema: { response: { 200: All } } }, async () => ({
    organizations: organizations.list(),
    memberships: organizations.memberships(),
    roles: organizations.roles(),
    invitations: organizations.invitations(),
  }))
  on('POST', '/organizations', [OrganizationPatch, Organization], (_, body) => organizations.create(body))
  on('PATCH', '/organizations/:id', [OrganizationPatch, Organization], ({ id }, body) => organizations.update(id, body))
  end('/organizations/:id', Deleted, ({ id }) => organizations.delete(id))
  on('POST', '/organizations/:id/members', [NewMember, Membership], ({ id }, { userId, ...patch }) =>
    organizations.addMember(id, userId, patch),
  )
  on('PATCH', '/organizations/:id/members/:userId', [MembershipPatch, Membership], ({ id, userId }, body) =>
    organizations.updateMember(id, userId, body),
  )
  end('/organizations/:id/members/:userId', Membership, ({ id, userId }) => organizations.removeMember(id, userId))
  on('POST', '/organizations/:id/invitations', [NewInvitation, Invitation], ({ id }, { email, role }) =>
    organizations.invite(id, email, role),
  )
  on('POST', '/invitations/:id/accept', [Accepted, Invitation], ({ id }, { userId }) =>
    organizations.acceptInvitation(id, userId),
  )
  end('/invitations/:id', Invitation, ({ id }) => organizations.revokeInvitation(id))
  on('POST', '/roles', [NewRole, Role], (_, body) => organizations.createRole(body))
  on('PATCH', '/roles/:id', [RolePatch, Role], ({ id }, body) => organizations.updateRole(id, body))
  end('/roles/:id', Deleted, ({ id }) => organizations.deleteRole(id))
  on('POST', '/sessions/:id/organization', [Choice, Session], ({ id }, { organizationId }) =>
    instance.chooseOrganization(id, organizationId),
  )
}
