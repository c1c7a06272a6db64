import { alreadyMember, notFound } from './clerk-error.ts'
import { newId } from './ids.ts'
import {
  type Invitation,
  later,
  type Membership,
  type MembershipPatch,
  newInvitation,
  newOrganization,
  type Organization,
  type OrganizationPatch,
  organizationClaims,
  type Role,
  type RolePatch,
} from './organization-json.ts'
import { Roles } from './roles.ts'
import type { User } from './schemas.ts'

export interface OrganizationsOptions {
  /** Unix ms. */
  now: () => number
  getUser: (id: string) => User
  emit: (type: string, data: object) => void
}

type Stored = Omit<Membership, 'organization' | 'public_user_data' | 'permissions' | 'role_name'> & {
  organizationId: string
  userId: string
}

/** The organizations of an instance with their members and invitations, and the events that each change emits. */
export class Organizations {
  readonly #roles: Roles
  readonly #options: OrganizationsOptions
  readonly #organizations = new Map<string, Organization>()
  readonly #memberships = new Map<string, Stored>()
  readonly #invitations = new Map<string, Invitation>()

  constructor(options: OrganizationsOptions) {
    this.#options = options
    this.#roles = new Roles(options)
  }

  // Newest first, as Clerk lists them.
  list(): Organization[] {
    return [...this.#organizations.keys()].reverse().map((id) => this.get(id))
  }
  memberships(filter: { organizationId?: string; userId?: string } = {}): Membership[] {
    const { organizationId, userId } = filter
    return [...this.#memberships.values()]
      .filter((one) => organizationId === undefined || one.organizationId === organizationId)
      .filter((one) => userId === undefined || one.userId === userId)
      .reverse()
      .map((one) => this.#json(one))
  }
  invitations(organizationId?: string): Invitation[] {
    return [...this.#invitations.values()]
      .filter((one) => organizationId === undefined || one.organization_id === organizationId)
      .reverse()
  }

  get(id: string): Organization {
    const organization = this.#organizations.get(id)
    if (!organization) throw notFound('organization', id)
    return { ...organization, members_count: this.#of(id).length }
  }

  create(patch: OrganizationPatch = {}): Organization {
    const now = this.#options.now()
    const organization = newOrganization(newId('org', now), patch, now)
    this.#organizations.set(organization.id, organization)
    this.#options.emit('organization.created', organization)
    if (patch.created_by !== undefined) this.addMember(organization.id, patch.created_by, { role: 'org:admin' })
    return this.get(organization.id)
  }

  update(id: string, patch: OrganizationPatch): Organization {
    const organization = this.get(id)
    this.#organizations.set(id, { ...organization, ...patch, updated_at: this.#after(organization.updated_at) })
    this.#options.emit('organization.updated', this.get(id))
    return this.get(id)
  }

  /** Removes its memberships and invitations as well, without events about them. */
  delete(id: string): { object: string; id: string; deleted: true } {
    this.get(id)
    for (const { id: membershipId } of this.#of(id)) this.#memberships.delete(membershipId)
    for (const invitation of this.invitations(id)) this.#invitations.delete(invitation.id)
    this.#organizations.delete(id)
    const deleted = { object: 'organization', id, deleted: true as const }
    this.#options.emit('organization.deleted', deleted)
    return deleted
  }

  addMember(
    organizationId: string,
    userId: string,
    { role = 'org:member', ...patch }: MembershipPatch = {},
  ): Membership {
    this.get(organizationId)
    this.#options.getUser(userId)
    this.#roles.find(role)
    if (this.#find(organizationId, userId)) throw alreadyMember()
    const now = this.#options.now()
    const membership: Stored = {
      object: 'organization_membership',
      id: newId('orgmem', now),
      role,
      public_metadata: patch.public_metadata ?? {},
      private_metadata: {},
      organizationId,
      userId,
      created_at: now,
      updated_at: now,
    }
    this.#memberships.set(membership.id, membership)
    this.#options.emit('organizationMembership.created', this.#json(membership))
    return this.#json(membership)
  }

  updateMember(organizationId: string, userId: string, patch: MembershipPatch): Membership {
    const membership = this.#getMember(organizationId, userId)
    if (patch.role !== undefined) this.#roles.find(patch.role)
    const changed = { ...membership, ...patch, updated_at: this.#after(membership.updated_at) }
    this.#memberships.set(changed.id, changed)
    this.#options.emit('organizationMembership.updated', this.#json(changed))
    return this.#json(changed)
  }

  /** The event carries the whole object, dated as when it was made. */
  removeMember(organizationId: string, userId: string): Membership {
    const membership = this.#getMember(organizationId, userId)
    const removed = { ...this.#json(membership), updated_at: membership.created_at }
    this.#memberships.delete(membership.id)
    this.#options.emit('organizationMembership.deleted', removed)
    return removed
  }

  /** Removes the memberships of a deleted user, without events about them. */
  forgetUser(userId: string): void {
    for (const one of [...this.#memberships.values()]) if (one.userId === userId) this.#memberships.delete(one.id)
  }

  roles = (): Role[] => this.#roles.list()
  getRole = (id: string): Role => this.#roles.get(id)
  createRole = (patch: RolePatch & { key: string }): Role => this.#roles.create(patch)
  updateRole = (id: string, patch: RolePatch): Role => this.#roles.update(id, patch)
  deleteRole = (id: string) => this.#roles.delete(id)

  invite(organizationId: string, email: string, role = 'org:member'): Invitation {
    this.get(organizationId)
    const now = this.#options.now()
    const id = newId('orginv', now)
    const fields = {
      id,
      email_address: email,
      role,
      role_name: this.#roles.find(role).name,
      organization_id: organizationId,
    }
    const invitation = newInvitation(fields, now)
    this.#invitations.set(id, invitation)
    this.#options.emit('organizationInvitation.created', invitation)
    return invitation
  }

  getInvitation(id: string): Invitation {
    const invitation = this.#invitations.get(id)
    if (!invitation) throw notFound('organization invitation', id)
    return invitation
  }

  acceptInvitation(id: string, userId: string): Invitation {
    const { organization_id, role } = this.#pendingInvitation(id)
    this.addMember(organization_id, userId, { role })
    return this.#settle(id, 'accepted', { user_id: userId })
  }

  /** Removes an invitation without an event. */
  forgetInvitation(id: string): void {
    this.#invitations.delete(id)
  }

  revokeInvitation(id: string): Invitation {
    return this.#settle(id, 'revoked')
  }

  /** What a token says of the organization that its session has active; nothing where the user is no member. */
  claimsOf(organizationId: string | null, userId: string): object {
    const membership = organizationId === null ? undefined : this.#find(organizationId, userId)
    if (!membership) return {}
    const { organization, role, permissions } = this.#json(membership)
    return organizationClaims(organization, role, permissions)
  }

  isMember(organizationId: string, userId: string): boolean {
    return this.#find(organizationId, userId) !== undefined
  }

  #settle(id: string, status: string, patch: Partial<Invitation> = {}): Invitation {
    const invitation = this.#pendingInvitation(id)
    const settled = { ...invitation, ...patch, status, url: null, updated_at: this.#after(invitation.updated_at) }
    this.#invitations.set(id, settled)
    this.#options.emit(`organizationInvitation.${status}`, settled)
    return settled
  }

  #of = (organizationId: string) =>
    [...this.#memberships.values()].filter((one) => one.organizationId === organizationId)
  #find = (organizationId: string, userId: string) => this.#of(organizationId).find((one) => one.userId === userId)

  #getMember(organizationId: string, userId: string): Stored {
    const membership = this.#find(organizationId, userId)
    if (!membership) throw notFound('organization membership', userId)
    return membership
  }

  #pendingInvitation(id: string): Invitation {
    const invitation = this.getInvitation(id)
    if (invitation.status !== 'pending') throw notFound('organization invitation', id)
    return invitation
  }

  #json({ organizationId, userId, ...membership }: Stored): Membership {
    const user = this.#options.getUser(userId)
    // A role that was deleted leaves its members without permissions.
    const role = this.#roles.list().find((one) => one.key === membership.role)
    const primary = user.email_addresses.find(({ id }) => id === user.primary_email_address_id)
    return {
      ...membership,
      role_name: role?.name ?? membership.role,
      permissions: (role?.permissions ?? []).map(({ key }) => key),
      organization: this.get(organizationId),
      public_user_data: {
        user_id: userId,
        first_name: user.first_name,
        last_name: user.last_name,
        profile_image_url: user.image_url,
        image_url: user.image_url,
        has_image: user.has_image,
        identifier: primary?.email_address ?? user.username,
      },
    }
  }

  #after = (beforeMs: number) => later(this.#options.now(), beforeMs)
}
