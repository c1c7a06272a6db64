import { type Static, type TSchema, Type } from '@sinclair/typebox'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { MembershipPatch, OrganizationPatch, RolePatch } from '../organization-json.ts'
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

/** The organization routes of the control API, under `/emulator`. */
export async function organizationControls(app: FastifyInstance, { instance }: EmulatorContext): Promise<void> {
  const { organizations } = instance

  function on<T extends TSchema>(
    method: 'POST' | 'PATCH',
    url: string,
    body: T,
    act: (params: Params, body: Static<T>) => unknown,
  ): void {
    app.route({
      method,
      url,
      schema: { body },
      handler: async ({ params, body }: FastifyRequest) => act(params as Params, body as Static<T>),
    })
  }
  const end = (url: string, act: (params: Params) => unknown) =>
    app.delete(url, async ({ params }) => act(params as Params))

  app.get('/organizations', async () => ({
    organizations: organizations.list(),
    memberships: organizations.memberships(),
    roles: organizations.roles(),
    invitations: organizations.invitations(),
  }))
  on('POST', '/organizations', OrganizationPatch, (_params, body) => organizations.create(body))
  on('PATCH', '/organizations/:id', OrganizationPatch, ({ id }, body) => organizations.update(id, body))
  end('/organizations/:id', ({ id }) => organizations.delete(id))
  on('POST', '/organizations/:id/members', NewMember, ({ id }, { userId, ...patch }) =>
    organizations.addMember(id, userId, patch),
  )
  on('PATCH', '/organizations/:id/members/:userId', MembershipPatch, ({ id, userId }, body) =>
    organizations.updateMember(id, userId, body),
  )
  end('/organizations/:id/members/:userId', ({ id, userId }) => organizations.removeMember(id, userId))
  on('POST', '/organizations/:id/invitations', NewInvitation, ({ id }, { email, role }) =>
    organizations.invite(id, email, role),
  )
  on('POST', '/invitations/:id/accept', Accepted, ({ id }, { userId }) => organizations.acceptInvitation(id, userId))
  end('/invitations/:id', ({ id }) => organizations.revokeInvitation(id))
  on('POST', '/roles', NewRole, (_params, body) => organizations.createRole(body))
  on('PATCH', '/roles/:id', RolePatch, ({ id }, body) => organizations.updateRole(id, body))
  end('/roles/:id', ({ id }) => organizations.deleteRole(id))
  on('POST', '/sessions/:id/organization', Choice, ({ id }, { organizationId }) =>
    instance.chooseOrganization(id, organizationId),
  )
}
