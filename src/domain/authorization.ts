/**
 * The rights of a user in a session token, decoded from claims of version 1 and 2 like Clerk's own `jwtPayloadParser`
 * (https://clerk.com/docs/backend-requests/resources/session-tokens).
 */
import type { JsonObject } from './clean.ts'

/** The user's active organization, with role and permissions. */
export interface ActiveOrganization {
  readonly id: string
  readonly slug: string | null
  /** With the prefix, as in webhooks: `org:admin`. */
  readonly role: string | null
  /** Sorted names such as `org:posts:edit`. */
  readonly permissions: readonly string[]
}

/** Minutes from the verification of each factor to the issue of the token; -1 for a factor that is not enrolled. */
export interface FactorAges {
  readonly first: number
  readonly second: number
}

/** The rights of a user. Rows of memberships and roles may replace `organization`; the rest is only in tokens. */
export interface Authorization {
  readonly organization: ActiveOrganization | null
  /** With scopes, as in the token: `u:pro`, `o:team`. */
  readonly plans: readonly string[]
  readonly features: readonly string[]
  /** Null if the claim is missing or malformed. */
  readonly factorAges: FactorAges | null
  /** The id of the user who impersonates this one. */
  readonly actorId: string | null
}

/** Reads the rights from verified claims. Malformed claims count as absent. */
export function readAuthorization(claims: JsonObject): Authorization {
  const features = elementsOf(claims.fea)
  return {
    organization: claims.v === 2 ? fromVersion2(claims, features) : fromVersion1(claims),
    plans: elementsOf(claims.pla),
    features,
    factorAges: readFactorAges(claims.fva),
    actorId: text(objectOf(claims.act)?.sub),
  }
}

/** A role or permission with the prefix `org:`, which the caller may have left out. */
export const withOrgPrefix = (name: string) => name.replace(/^(org:)*/, 'org:')

/** The names in a scope, `o` or `u`. An element can be in both: `ou:export`. */
export function inScope(elements: readonly string[], scope: 'o' | 'u'): string[] {
  return elements.flatMap((element) => {
    const colon = element.indexOf(':')
    return [scope, 'ou', 'uo'].includes(element.slice(0, colon)) ? [element.slice(colon + 1)] : []
  })
}

function fromVersion1(claims: JsonObject): ActiveOrganization | null {
  const permissions = Array.isArray(claims.org_permissions) ? claims.org_permissions : []
  return organizationOf(
    claims.org_id,
    claims.org_slug,
    claims.org_role,
    permissions.filter((permission) => typeof permission === 'string'),
  )
}

function fromVersion2({ o }: JsonObject, features: readonly string[]): ActiveOrganization | null {
  const { id, slg, rol, per, fpm } = objectOf(o) ?? {}
  return organizationOf(id, slg, rol, decodePermissions(inScope(features, 'o'), text(per), text(fpm)))
}

function organizationOf(id: unknown, slug: unknown, role: unknown, permissions: string[]): ActiveOrganization | null {
  const organizationId = text(id)
  if (organizationId === null) return null
  const roleName = text(role)
  return {
    id: organizationId,
    slug: text(slug),
    role: roleName && withOrgPrefix(roleName),
    permissions: [...new Set(permissions)].sort(),
  }
}

// `per` lists the actions; `fpm` has a decimal bit mask for each feature, whose lowest bit is the first action.
function decodePermissions(features: string[], per: string | null, fpm: string | null): string[] {
  if (per === null || fpm === null) return []
  const actions = per.split(',').map((action) => action.trim())
  const maps = fpm.split(',').map((map) => map.trim())
  return features.flatMap((feature, index) => {
    const map = maps[index] ?? ''
    // A mask has one bit per action, so longer numbers are invalid; parsing them could take unlimited time.
    if (!/^\d{1,400}$/.test(map)) return []
    const bits = BigInt(map)
    return actions.filter((_, bit) => (bits >> BigInt(bit)) & 1n).map((action) => `org:${feature}:${action}`)
  })
}

// Like Clerk: if one element has no scope, the whole claim is ignored.
function elementsOf(claim: unknown): string[] {
  const elements = (text(claim) ?? '').split(',').map((element) => element.trim())
  return elements.every((element) => element.includes(':')) ? elements : []
}

function readFactorAges(fva: unknown): FactorAges | null {
  if (!Array.isArray(fva) || fva.length !== 2) return null
  const [first, second] = fva
  return isAge(first) && isAge(second) ? { first, second } : null
}

const isAge = (age: unknown): age is number => typeof age === 'number' && (age === -1 || age >= 0)

const text = (value: unknown) => (typeof value === 'string' && value !== '' ? value : null)

const objectOf = (value: unknown) =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as JsonObject) : undefined
