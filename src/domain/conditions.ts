/** Conditions on a user's rights, from a guard or the query of `/api/auth/verify`, with the semantics of Clerk's `has()`. */
import { type Authorization, inScope, withOrgPrefix } from './authorization.ts'

/** What a user must have; all given conditions must be met. */
export interface Conditions {
  /** A role in the active organization, such as `org:admin`; the prefix may be left out. */
  role?: string
  /** Permissions such as `org:posts:edit`; all of them are required. */
  permission?: string | readonly string[]
  /** Id or slug of the organization that must be active; true for any. */
  organization?: string | true
  /** A plan, with or without scope: `pro`, `user:pro`, `org:team`. */
  plan?: string
  /** A feature, with or without scope. */
  feature?: string
  /** The most minutes since the first factor was verified. */
  maxFactorAge?: number
  /** The most minutes since the second factor was verified, or the first one if the user has no second. */
  maxSecondFactorAge?: number
}

/** A condition that is not met, described for the caller. */
export interface Unmet {
  kind: 'forbidden' | 'reverification'
  what: string
}

/** Whether a condition concerns the active organization, so that the rows of the membership must be read. */
export const asksForMembership = ({ role, permission, organization, plan, feature }: Conditions): boolean =>
  [role, permission, organization].some((condition) => condition !== undefined) ||
  [plan, feature].some(isOfOrganization)

// Without a scope, an entitlement may be the user's or the organization's.
const isOfOrganization = (entitlement: string | undefined) =>
  entitlement !== undefined && !/^u(ser)?:/.test(entitlement)

const NAME = /^[\w-]{1,255}(:[\w-]{1,255})*$/
// Clerk's scopes: o, org and organization, u and user.
const ENTITLEMENT = /^((o|org|organization|u|user):)?[\w-]{1,255}$/
// Up to a year of minutes; Clerk's `has()` does not accept 0 either.
const isMinutes = (value: unknown) => Number.isInteger(value) && Number(value) > 0 && Number(value) <= 525_600

const isText = (pattern: RegExp) => (value: unknown) => typeof value === 'string' && pattern.test(value)
/** What each condition must be. */
export const CONDITION_FORMS: Record<keyof Conditions, string> = {
  role: 'a role such as org:admin',
  permission: 'a permission such as org:posts:edit, or an array of them',
  organization: 'true, or the id or slug of an organization',
  plan: 'a plan such as org:team',
  feature: 'a feature such as org:exports',
  maxFactorAge: 'a number of minutes',
  maxSecondFactorAge: 'a number of minutes',
}
const CHECKS: Record<keyof Conditions, (value: unknown) => boolean> = {
  role: isText(NAME),
  permission: (value) => {
    const permissions = [value].flat()
    return permissions.length > 0 && permissions.every(isText(NAME))
  },
  organization: (value) => value === true || isText(/^[\w-]{1,255}$/)(value),
  plan: isText(ENTITLEMENT),
  feature: isText(ENTITLEMENT),
  maxFactorAge: isMinutes,
  maxSecondFactorAge: isMinutes,
}

/**
 * The name of the first unknown condition, or condition with an invalid value; undefined if all are valid. A condition that is
 * given as undefined, such as that of an unset variable, is invalid: it would admit everybody.
 */
export function findBadCondition(given: object): string | undefined {
  const bad = Object.entries(given).find(
    ([name, value]) => !Object.hasOwn(CHECKS, name) || !CHECKS[name as keyof Conditions](value),
  )
  return bad?.[0]
}

/**
 * Reads conditions from a query string.
 * @returns the conditions, or the name of the first invalid parameter
 */
export function parseConditions(query: string): Conditions | { bad: string } {
  const given: Record<string, unknown> = Object.create(null)
  for (const [name, value] of new URLSearchParams(query)) {
    if (name === 'permission') given[name] = [...((given[name] as string[] | undefined) ?? []), value]
    // Only permissions may be repeated.
    else if (name in given) return { bad: name }
    else given[name] = /^max(Second)?FactorAge$/.test(name) && /^\d{1,6}$/.test(value) ? Number(value) : value
  }
  const bad = findBadCondition(given)
  return bad === undefined ? given : { bad }
}

/** The first condition that these rights do not meet; missing rights are reported before an old factor. */
export function findUnmet(conditions: Conditions, authorization: Authorization): Unmet | undefined {
  const { organization, plans, features, factorAges } = authorization
  const { role, permission = [], maxFactorAge, maxSecondFactorAge } = conditions
  const lacks = (what: string): Unmet => ({ kind: 'forbidden', what })

  if (conditions.organization === true && organization === null) return lacks('an active organization')
  if (typeof conditions.organization === 'string') {
    const isActive = organization?.id === conditions.organization || organization?.slug === conditions.organization
    if (!isActive) return lacks(`the active organization ${conditions.organization}`)
  }
  if (role !== undefined && organization?.role !== withOrgPrefix(role)) return lacks(`the role ${withOrgPrefix(role)}`)
  for (const name of [permission].flat().map(withOrgPrefix)) {
    if (!organization?.permissions.includes(name)) return lacks(`the permission ${name}`)
  }
  if (conditions.plan !== undefined && !includes(plans, conditions.plan)) return lacks(`the plan ${conditions.plan}`)
  if (conditions.feature !== undefined && !includes(features, conditions.feature)) {
    return lacks(`the feature ${conditions.feature}`)
  }

  const { first, second } = factorAges ?? { first: -1, second: -1 }
  const old = (what: string): Unmet => ({ kind: 'reverification', what })
  if (maxFactorAge !== undefined && !isFresh(first, maxFactorAge))
    return old(`a factor of the last ${maxFactorAge} minutes`)
  if (maxSecondFactorAge !== undefined && !isFresh(second === -1 ? first : second, maxSecondFactorAge)) {
    return old(`a second factor of the last ${maxSecondFactorAge} minutes`)
  }
  return undefined
}

const isFresh = (age: number, maxAge: number) => age !== -1 && age <= maxAge

/** Without a scope, a plan or feature of either scope matches. */
function includes(elements: readonly string[], wanted: string): boolean {
  const [name = '', scope] = wanted.split(':').toReversed()
  const scopes = scope === undefined ? (['o', 'u'] as const) : [scope.startsWith('o') ? ('o' as const) : ('u' as const)]
  return scopes.some((one) => inScope(elements, one).includes(name))
}
