/** Decides which role and permissions apply: those of the token, or those of newer rows. */
import type { ActiveOrganization } from './authorization.ts'
import { isNewer, type Version } from './version.ts'

/** The rows of the organization that a token names. Times are milliseconds since 1970. */
export interface OrganizationRows {
  /** Undefined if there is no row. */
  organization: { name: string | null; slug: string | null; isDeleted: boolean } | undefined
  /** The current membership of the token's user, otherwise the one that ended last. */
  membership: { role: string | null; permissions: string[]; version: Version; endedAt: number | null } | undefined
  /** The row of the role that applies: the membership's if it is newer than the token, otherwise the token's. */
  role: { permissions: string[]; version: Version } | undefined
}

/** The active organization of a user, combined from the tables and the token. */
export interface Membership extends ActiveOrganization {
  /** Null if only the token is known. */
  readonly name: string | null
}

/**
 * The membership of a token; undefined if it has ended after the token was issued, or if the organization was deleted.
 */
export function resolveMembership(
  token: ActiveOrganization,
  issuedAtMs: number,
  { organization, membership, role }: OrganizationRows,
): Membership | undefined {
  const { endedAt = null } = membership ?? {}
  if (organization?.isDeleted || (endedAt !== null && endedAt > issuedAtMs)) return undefined
  // An end before the token was issued does not count: the user has joined again, and that event is still in transit.
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
