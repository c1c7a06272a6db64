/**
 * What a session token says about its user's rights, decoded from claims of version 1 and 2 as Clerk's own
 * `jwtPayloadParser` does (https://clerk.com/docs/backend-requests/resources/session-tokens).
 */
import type { JsonObject } from './clean.ts'

/** The organization that the user has chosen, and what the user may do there. */
export interface ActiveOrganization {
  readonly id: string
  readonly slug: string | null
  /** As webhooks write it: `org:admin`. */
  readonly role: string | null
  /** Sorted: `org:posts:edit`. */
  readonly permissions: readonly string[]
}

/** Minutes since the first and the second factor were verified, when the token was issued; -1 stands for a factor not enrolled. */
export interface FactorAges {
  readonly first: number
  readonly second: number
}

/** The rights of a user. Rows of memberships and roles may replace `organization`; the rest only tokens know. */
export interface Authorization {
  readonly organization: ActiveOrganization | null
  /** With scopes, as in the token: `u:pro`, `o:team`. */
  readonly plans: readonly string[]
  readonly features: readonly string[]
  /** Null where the token does not say, or says it in a form that is not Clerk's. */
  readonly factorAges: FactorAges | null
  /** Who acts as this user: the id of the impersonator. */
  readonly actorId: string | null
}

/** Reads the rights out of verified claims. What is not of Clerk's form counts as absent. */
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

/** A role or permission with the prefix that Clerk's has, whether it was given or not. */
export const withOrgPrefix = (name: string) => name.replace(/^(org:)*/, 'org:')

/** The names that belong to a scope, `o` or `u`. An element may belong to both: `ou:export`. */
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

// `per` names the actions once; `fpm` has a decimal number for each feature, whose lowest bit stands for the first action.
function decodePermissions(features: string[], per: string | null, fpm: string | null): string[] {
  if (per === null || fpm === null) return []
  const actions = per.split(',').map((action) => action.trim())
  const maps = fpm.split(',').map((map) => map.trim())
  return features.flatMap((feature, index) => {
    const map = maps[index] ?? ''
    // One bit an action, which is far fewer digits; a number without bound would cost time without bound.
    if (!/^\d{1,400}$/.test(map)) return []
    const bits = BigInt(map)
    return actions.filter((_, bit) => (bits >> BigInt(bit)) & 1n).map((action) => `org:${feature}:${action}`)
  })
}

// As Clerk does: one element without a scope, and none of them counts.
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
