/** Events about organizations, in the shapes of Clerk's. */
import { changeFromEvent } from '../../src/resources/received-event.ts'
import { T0 } from './repository.ts'

export interface OrganizationEvent {
  type: string
  timestamp: number
  data: object
}

let messages = 0

/** The change of an event, as the webhook route makes it; each call is a message of its own. */
export const changeOf = (event: OrganizationEvent, id = `msg_${++messages}`) =>
  changeFromEvent(structuredClone(event), { id, sentAt: 0, payload: JSON.stringify(event) }, Date.now())

const event = (type: string, timestamp: number, data: object): OrganizationEvent => ({ type, timestamp, data })

export const organizationJson = (id: string, updatedAt: number, patch: object = {}) => ({
  object: 'organization',
  id,
  name: `Name of ${id}`,
  slug: id.replaceAll('_', '-'),
  image_url: `https://img.clerk.com/${id}`,
  has_image: false,
  members_count: 1,
  max_allowed_memberships: 5,
  admin_delete_enabled: true,
  public_metadata: {},
  private_metadata: {},
  created_by: 'user_founder',
  created_at: T0,
  updated_at: updatedAt,
  ...patch,
})

export const organizationChanged = (id: string, at: number, patch: object = {}) =>
  event('organization.updated', at, organizationJson(id, at, patch))

export const organizationDeleted = (id: string, at: number) =>
  event('organization.deleted', at, { object: 'organization', id, deleted: true })

export interface MembershipOptions {
  organization?: object
  updatedAt?: number
  createdAt?: number
  role?: string
  permissions?: string[]
  metadata?: object
  user?: object
}

const membershipJson = (id: string, organizationId: string, userId: string, options: MembershipOptions) => ({
  object: 'organization_membership',
  id,
  role: options.role ?? 'org:member',
  role_name: 'Member',
  permissions: options.permissions ?? ['org:posts:read'],
  public_metadata: options.metadata ?? {},
  private_metadata: {},
  organization: { ...organizationJson(organizationId, T0), ...options.organization },
  public_user_data: {
    user_id: userId,
    first_name: 'Grace',
    last_name: 'Hopper',
    image_url: 'https://img.clerk.com/grace',
    has_image: true,
    identifier: `${userId}@example.com`,
    ...options.user,
  },
  created_at: options.createdAt ?? T0,
  updated_at: options.updatedAt,
})

/** `orgmem_…`, `org_…`, `user_…`. */
export const joined = (id: string, org: string, user: string, at: number, options: MembershipOptions = {}) =>
  event('organizationMembership.updated', at, membershipJson(id, org, user, { updatedAt: at, ...options }))

/** As Clerk sends it: the whole object, dated as if nothing had changed since it was made. */
export const left = (id: string, org: string, user: string, at: number, options: MembershipOptions = {}) =>
  event('organizationMembership.deleted', at, membershipJson(id, org, user, { updatedAt: T0, ...options }))

export const roleChanged = (id: string, key: string, at: number, permissions: string[]) =>
  event('role.updated', at, {
    object: 'role',
    id,
    key,
    name: key,
    description: null,
    permissions: permissions.map((permission) => ({ object: 'permission', key: permission })),
    created_at: T0,
    updated_at: at,
  })

export const roleDeleted = (id: string, at: number) => event('role.deleted', at, { object: 'role', id, deleted: true })

export const userDeleted = (id: string, at: number) => event('user.deleted', at, { object: 'user', id, deleted: true })

export const invited = (id: string, org: string, status: string, at: number, patch: object = {}) =>
  event(`organizationInvitation.${status === 'pending' ? 'created' : status}`, at, {
    object: 'organization_invitation',
    id,
    email_address: 'mary@example.com',
    role: 'org:member',
    organization_id: org,
    status,
    public_metadata: {},
    created_at: T0,
    updated_at: at,
    ...patch,
  })
