/** Which role and permissions count: those of the token, or those of the rows that are newer. */
import type { ActiveOrganization } from './authorization.ts'
import { isNewer, type Version } from './version.ts'

/** What the tables know of the organization that a token names. Times are milliseconds since 1970. */
export interface OrganizationRows {
  /** Undefined when no row is there. */
  organization: { name: string | null; slug: string | null; isDeleted: boolean } | undefined
  /** The living membership of the token's user, else the one that ended last. */
  membership: { role: string | null; permissions: string[]; version: Version; endedAt: number | null } | undefined
  /** The row of the role that counts: the membership's where that is newer than the token, else the token's. */
  role: { permissions: string[]; version: Version } | undefined
}

/** The organization in which a user acts, as the tables and the token have it together. */
export interface Membership extends ActiveOrganization {
  /** Null where only the token is known. */
  readonly name: string | null
}

/**
 * The membership of a token; undefined when it is known to have ended after the token was issued, or when the organization
 * was deleted.
 */
export function resolveMembership(
  token: ActiveOrganization,
  issuedAtMs: number,
  { organization, membership, role }: OrganizationRows,
): Membership | undefined {
  const { endedAt = null } = membership ?? {}
  if (organization?.isDeleted || (endedAt !== null && endedAt > issuedAtMs)) return undefined
  // An end before the token was issued says nothing: the user has joined again, and the event is still under way.
  const isRow = membership !== undefined && endedAt === null && membership.version.updatedAt > issuedAtMs
  const giver = isRow ? membership : { ...token, version: { updatedAt: issuedAtMs, eventAt: Infinity } }
  const permissions = role && isNewer(role.version, giver.version) ? role.permissions : giver.permissions
  return {
    id: token.id,
    name: organization?.name ?? null,
    slug: organization ? organization.slug : token.slug,
    role: giver.role,
    permissions,
  }
}
