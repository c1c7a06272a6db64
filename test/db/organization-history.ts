/** Random lives of organizations, their members, roles and invitations, and everything that Clerk says of them meanwhile. */
import fc from 'fast-check'
import type { OrganizationEvent } from '../helpers/organization-events.ts'
import type { OrganizationFact } from '../helpers/organization-model.ts'

/** Something to deliver: an event, or an answer of the Backend API; and what it lets the model know. */
export interface OrganizationSaying {
  said:
    | { event: OrganizationEvent }
    | { api: 'organization' | 'membership' | 'role' | 'invitation'; json: object; askedAt: number }
  facts: OrganizationFact[]
}

const ACTS = [
  'join',
  'join',
  'join',
  'leave',
  'leave',
  'promote',
  'promote',
  'renameOrganization',
  'handSlugOn',
  'changeRole',
  'changeRole',
  'deleteRole',
  'invite',
  'answer',
  'deleteOrganization',
  'renameStranger',
  'api',
  'api',
] as const

const step = fc.record({
  act: fc.constantFrom(...ACTS),
  afterMs: fc.oneof(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 300, max: 3_000 })),
  lagMs: fc.integer({ min: 0, max: 400 }),
  /** Chooses among whatever the act has to choose from. */
  choice: fc.nat(9_999),
  /** How many versions ago the organization was that comes with a membership. */
  lateBy: fc.nat(3),
})
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never

export const organizationLives: fc.Arbitrary<Step[]> = fc.array(step, { minLength: 1, maxLength: 14 })

const BIRTH_MS = Date.UTC(2026, 0, 2, 3, 4, 6)

interface Organization {
  id: string
  name: string
  slug: string | null
  image_url: string
  public_metadata: object
  created_by: string
  created_at: number
  updated_at: number
}
interface Membership {
  id: string
  organizationId: string
  userId: string
  role: string
  permissions: string[]
  public_metadata: object
  created_at: number
  updated_at: number
}
interface Role {
  id: string
  key: string
  name: string
  permissions: string[]
  created_at: number
  updated_at: number
}
interface Invitation {
  id: string
  organization_id: string
  email_address: string
  role: string
  status: string
  user_id: string | null
  created_at: number
  updated_at: number
}

/** Plays the life of two organizations: what Clerk says, in the order in which it happened. */
export function playOrganizations(steps: Step[], prefix: string, userIds: string[]): OrganizationSaying[] {
  // Roles are those of the whole instance: each history has its own.
  const KEYS = [`org:admin_${prefix}`, `org:member_${prefix}`]
  const sayings: OrganizationSaying[] = []
  const stamps = new Set<number>()
  let now = BIRTH_MS
  let strangerName = 'Nobody'
  const stranger = `stranger_${prefix}`
  const people = [...userIds, stranger]
  const versions = new Map<string, Organization[]>()
  const dead = new Set<string>()
  const memberships: Membership[] = []
  const ended = new Set<Membership>()
  const invitations: Invitation[] = []
  const roles: Role[] = []
  const deletedRoles = new Set<Role>()

  // No two events share a stamp, since a version is a pair.
  function stampOf(lagMs: number): number {
    let stamp = now + lagMs
    while (stamps.has(stamp)) stamp += 1
    stamps.add(stamp)
    return stamp
  }
  const current = (id: string) => versions.get(id)?.at(-1) as Organization
  function touch(id: string, patch: Partial<Organization>): void {
    const before = current(id)
    versions.get(id)?.push({ ...before, ...patch, updated_at: Math.max(now, before.updated_at + 1) })
  }
  const permissionsNow = (key: string) =>
    roles.find((role) => role.key === key && !deletedRoles.has(role))?.permissions ?? [`${key}:default`]

  const organizationFact = (json: Organization, eventAt: number | null): OrganizationFact => {
    const { id, name, slug, image_url, public_metadata, created_by, created_at, updated_at } = json
    const columns = { name, slug, image_url, public_metadata, created_by, clerk_created_at: created_at }
    return { of: 'organization', id, updatedAt: updated_at, eventAt, columns }
  }
  const membershipJson = (membership: Membership, lateBy: number) => {
    const { organizationId, userId, ...json } = membership
    const all = versions.get(organizationId) as Organization[]
    return {
      ...json,
      organization: all.at(-1 - Math.min(lateBy, all.length - 1)) as Organization,
      public_user_data: {
        user_id: userId,
        first_name: strangerName,
        last_name: null,
        image_url: `https://img.clerk.com/${strangerName}`,
        identifier: `${userId}@example.com`,
      },
    }
  }
  function membershipFacts(
    membership: Membership,
    json: ReturnType<typeof membershipJson>,
    saidAt: number,
    eventAt: number | null,
  ) {
    const { id, organizationId, userId, role, permissions, public_metadata, created_at, updated_at } = membership
    const facts: OrganizationFact[] = [
      organizationFact(json.organization, null),
      {
        of: 'membership',
        id,
        updatedAt: updated_at,
        eventAt,
        columns: {
          organization_id: organizationId,
          user_id: userId,
          role,
          permissions: [...permissions].sort(),
          public_metadata,
          clerk_created_at: created_at,
        },
      },
    ]
    if (userId !== stranger) return facts
    const { first_name, last_name, image_url, identifier: email } = json.public_user_data
    const columns = { first_name, last_name, image_url, email }
    return [...facts, { of: 'stranger' as const, id: userId, updatedAt: saidAt, eventAt: null, columns }]
  }
  const roleFact = (
    { id, key, name, permissions, created_at, updated_at }: Role,
    eventAt: number | null,
  ): OrganizationFact => ({
    of: 'role',
    id,
    updatedAt: updated_at,
    eventAt,
    columns: { key, name, permissions: [...permissions].sort(), clerk_created_at: created_at },
  })
  const invitationFact = (json: Invitation, eventAt: number | null): OrganizationFact => {
    const { id, organization_id, email_address: email, role, status, user_id, created_at, updated_at } = json
    const columns = { organization_id, email, role, status, user_id, clerk_created_at: created_at }
    return { of: 'invitation', id, updatedAt: updated_at, eventAt, columns }
  }
  const roleJson = (role: Role) => ({ ...role, permissions: role.permissions.map((key) => ({ key })) })

  function emit(type: string, data: object, timestamp: number, facts: OrganizationFact[]): void {
    sayings.push(structuredClone({ said: { event: { type, timestamp, data } }, facts }))
  }
  function emitOrganization(id: string, { lagMs }: Step): void {
    const stamp = stampOf(lagMs)
    emit('organization.updated', current(id), stamp, [organizationFact(current(id), stamp)])
  }
  function emitMembership(membership: Membership, { lagMs, lateBy }: Step): void {
    const stamp = stampOf(lagMs)
    const json = membershipJson(membership, lateBy)
    emit('organizationMembership.updated', json, stamp, membershipFacts(membership, json, stamp, stamp))
  }
  function emitRole(role: Role, { lagMs }: Step): void {
    const stamp = stampOf(lagMs)
    emit('role.updated', roleJson(role), stamp, [roleFact(role, stamp)])
  }
  function emitInvitation(invitation: Invitation, { lagMs }: Step): void {
    const stamp = stampOf(lagMs)
    const type = invitation.status === 'pending' ? 'created' : invitation.status
    emit(`organizationInvitation.${type}`, invitation, stamp, [invitationFact(invitation, stamp)])
  }
  function emitEnd(type: string, of: OrganizationFact['of'], id: string, { lagMs }: Step): void {
    const stamp = stampOf(lagMs)
    emit(type, { id, deleted: true }, stamp, [
      { of, id, updatedAt: stamp, eventAt: stamp, deletedAt: stamp, columns: { clerk_created_at: null } },
    ])
  }
  function pick<T>(from: readonly T[], { choice }: Step): T | undefined {
    return from[choice % Math.max(1, from.length)]
  }

  for (const n of [1, 2]) {
    const id = `org_${prefix}_${n}`
    const times = { created_at: now, updated_at: now }
    versions.set(id, [
      {
        id,
        name: id,
        slug: `slug-${n}`,
        image_url: 'https://img.clerk.com/o',
        public_metadata: {},
        created_by: 'user_f',
        ...times,
      },
    ])
  }

  const acts: Record<(typeof ACTS)[number], (step: Step) => void> = {
    join(step) {
      const userId = pick(people, step) as string
      const organizationId = pick(
        [...versions.keys()].filter((id) => !dead.has(id)),
        step,
      )
      const isMember = memberships.some(
        (one) => one.userId === userId && one.organizationId === organizationId && !ended.has(one),
      )
      if (organizationId === undefined || isMember) return
      const role = pick(KEYS, step) as string
      const membership: Membership = {
        id: `orgmem_${prefix}_${memberships.length}`,
        organizationId,
        userId,
        role,
        permissions: permissionsNow(role),
        public_metadata: { seat: step.choice },
        created_at: now,
        updated_at: now,
      }
      memberships.push(membership)
      emitMembership(membership, step)
    },
    promote(step) {
      const membership = pick(
        memberships.filter((one) => !ended.has(one)),
        step,
      )
      if (!membership) return
      membership.role = KEYS[step.choice % 2] as string
      membership.permissions = permissionsNow(membership.role)
      membership.updated_at = Math.max(now, membership.updated_at + 1)
      emitMembership(membership, step)
    },
    leave(step) {
      const membership = pick(
        memberships.filter((one) => !ended.has(one)),
        step,
      )
      if (!membership) return
      ended.add(membership)
      const stamp = stampOf(step.lagMs)
      // The whole object, dated as if nothing had changed since it was made.
      const json = { ...membershipJson(membership, step.lateBy), updated_at: membership.created_at }
      const [organization, fact] = membershipFacts(membership, json, stamp, stamp) as [
        OrganizationFact,
        OrganizationFact,
      ]
      const end = { ...fact, updatedAt: stamp, deletedAt: stamp }
      emit('organizationMembership.deleted', json, stamp, [organization, end])
    },
    renameOrganization(step) {
      const id = pick(
        [...versions.keys()].filter((id) => !dead.has(id)),
        step,
      )
      if (id === undefined) return
      touch(id, { name: `Name ${step.choice}`, public_metadata: step.choice % 2 ? { plan: step.choice } : {} })
      emitOrganization(id, step)
    },
    handSlugOn(step) {
      const [from, to] = [...versions.keys()].filter((id) => !dead.has(id))
      if (from === undefined || to === undefined) return
      const { slug } = current(from)
      touch(from, { slug: step.choice % 2 ? null : `slug-${step.choice}` })
      touch(to, { slug })
      emitOrganization(to, step)
      emitOrganization(from, step)
    },
    changeRole(step) {
      const key = pick(KEYS, step) as string
      let role = roles.find((one) => one.key === key && !deletedRoles.has(one))
      if (!role) {
        role = {
          id: `role_${prefix}_${roles.length}`,
          key,
          name: key,
          permissions: [],
          created_at: now,
          updated_at: now,
        }
        roles.push(role)
      }
      role.permissions = ['org:b:edit', 'org:a:read', 'org:sys_x:y', 'org:c:d'].filter(
        (_, bit) => step.choice & (1 << bit),
      )
      role.updated_at = Math.max(now, role.updated_at + 1)
      emitRole(role, step)
    },
    deleteRole(step) {
      const role = pick(
        roles.filter((one) => !deletedRoles.has(one)),
        step,
      )
      if (!role || step.choice % 2) return
      deletedRoles.add(role)
      emitEnd('role.deleted', 'role', role.id, step)
    },
    invite(step) {
      const organization_id = pick([...versions.keys()], step) as string
      const id = `orginv_${prefix}_${invitations.length}`
      const email_address = `${step.choice}@example.com`
      const invitation = { id, organization_id, email_address, role: 'org:member', status: 'pending', user_id: null }
      invitations.push({ ...invitation, created_at: now, updated_at: now })
      emitInvitation(invitations.at(-1) as Invitation, step)
    },
    answer(step) {
      const invitation = pick(
        invitations.filter(({ status }) => status === 'pending'),
        step,
      )
      if (!invitation) return
      invitation.status = step.choice % 2 ? 'accepted' : 'revoked'
      invitation.user_id = step.choice % 2 ? (pick(people, step) as string) : null
      invitation.updated_at = Math.max(now, invitation.updated_at + 1)
      emitInvitation(invitation, step)
    },
    deleteOrganization(step) {
      const id = pick(
        [...versions.keys()].filter((id) => !dead.has(id)),
        step,
      )
      if (id === undefined || step.choice % 2) return
      dead.add(id)
      emitEnd('organization.deleted', 'organization', id, step)
    },
    renameStranger({ choice }) {
      strangerName = `Name ${choice}`
    },
    api(step) {
      const askedAt = stampOf(0)
      const push = (
        api: 'organization' | 'membership' | 'role' | 'invitation',
        json: object,
        facts: OrganizationFact[],
      ) => sayings.push(structuredClone({ said: { api, json, askedAt }, facts }))
      const organization = pick(
        [...versions.keys()].filter((id) => !dead.has(id)),
        step,
      )
      const membership = pick(
        memberships.filter((one) => !ended.has(one)),
        step,
      )
      const role = pick(
        roles.filter((one) => !deletedRoles.has(one)),
        step,
      )
      const invitation = pick(invitations, step)
      if (organization) push('organization', current(organization), [organizationFact(current(organization), null)])
      if (membership) {
        const json = membershipJson(membership, step.lateBy)
        push('membership', json, membershipFacts(membership, json, askedAt, null))
      }
      if (role) push('role', roleJson(role), [roleFact(role, null)])
      if (invitation) push('invitation', invitation, [invitationFact(invitation, null)])
    },
  }

  for (const one of steps) {
    now += one.afterMs
    acts[one.act](one)
  }
  return sayings
}
