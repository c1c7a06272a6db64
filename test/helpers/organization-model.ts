/** The contract's rules about organizations as a plain function, beside those of model.ts. It shares nothing with the code under test. */
import type { Row } from './model.ts'

/** What Clerk said once of an object: a snapshot, or with `deletedAt` its end. `eventAt` is null for the Backend API and for parts. */
export interface OrganizationFact {
  of: 'organization' | 'membership' | 'role' | 'invitation' | 'stranger'
  id: string
  updatedAt: number
  eventAt: number | null
  deletedAt?: number
  /** The columns, as rows have them. */
  columns: Row
}

const WIPED: Record<string, Row> = {
  organization: { name: null, slug: null, image_url: null, public_metadata: {}, created_by: null },
  role: { key: null, name: null, permissions: [] },
}

export interface ExpectedRows {
  organizations: Row[]
  organization_memberships: Row[]
  organization_roles: Row[]
  organization_invitations: Row[]
  living_memberships: Row[]
}

/** @param deletedUsers when each deleted user was deleted */
export function expectedOrganizations(facts: OrganizationFact[], deletedUsers: Map<string, number>): ExpectedRows {
  const organizations = rowsOf(facts, 'organization')
  const roles = rowsOf(facts, 'role')
  const organizationEnds = new Map(organizations.map((row) => [row.id, row.deleted_at as number | null]))
  const memberships = rowsOf(facts, 'membership').map((row): Row => {
    const ends = [deletedUsers.get(row.user_id as string), organizationEnds.get(row.organization_id)].filter(
      (end) => typeof end === 'number',
    )
    const endedAt = (row.deleted_at as number | null) ?? (ends.length > 0 ? Math.min(...ends) : null)
    return { ...row, ended_at: endedAt, ...(endedAt !== null && { public_metadata: {} }) }
  })
  const invitations = rowsOf(facts, 'invitation').map((row) =>
    deletedUsers.has(row.user_id as string) ? { ...row, email: null } : row,
  )
  return {
    organizations,
    organization_memberships: memberships,
    organization_roles: roles,
    organization_invitations: invitations,
    living_memberships: memberships
      .filter((row) => row.ended_at === null)
      .map((row) => ({ id: row.id, role: row.role, permissions: effectivePermissions(row, roles) })),
  }
}

function effectivePermissions(membership: Row, roles: Row[]): unknown {
  const candidates = roles.filter((role) => role.key === membership.role && role.deleted_at === null)
  const [role] = candidates.sort((a, b) => compare(b, a))
  return role && compare(role, membership) > 0 ? role.permissions : membership.permissions
}

const compare = (a: Row, b: Row) =>
  (a.clerk_updated_at as number) - (b.clerk_updated_at as number) ||
  Number(a.clerk_event_at ?? 0) - Number(b.clerk_event_at ?? 0)

/** What is known of users of whom memberships alone speak. */
export const expectedStrangers = (facts: OrganizationFact[]): Row[] =>
  byId(facts, 'stranger').map(([id, all]) => ({
    id,
    ...all.sort((a, b) => a.updatedAt - b.updatedAt).at(-1)?.columns,
  }))

function rowsOf(facts: OrganizationFact[], of: OrganizationFact['of']): Row[] {
  return byId(facts, of).map(([id, all]) => {
    const end = all.filter(({ deletedAt }) => deletedAt !== undefined).sort((a, b) => a.updatedAt - b.updatedAt)[0]
    const newest = end ?? (all.sort((a, b) => rank(a) - rank(b) || version(a, b)).at(-1) as OrganizationFact)
    return {
      id,
      ...newest.columns,
      ...(end && WIPED[of]),
      clerk_updated_at: newest.updatedAt,
      clerk_event_at: newest.eventAt,
      deleted_at: end?.deletedAt ?? null,
    }
  })
}

const rank = ({ of, columns }: OrganizationFact) => (of === 'invitation' && columns.status !== 'pending' ? 1 : 0)
const version = (a: OrganizationFact, b: OrganizationFact) =>
  a.updatedAt - b.updatedAt || (a.eventAt ?? -1) - (b.eventAt ?? -1)

function byId(facts: OrganizationFact[], of: OrganizationFact['of']): [string, OrganizationFact[]][] {
  const groups = Map.groupBy(
    facts.filter((fact) => fact.of === of),
    ({ id }) => id,
  )
  return [...groups].sort(([a], [b]) => (a < b ? -1 : 1))
}
