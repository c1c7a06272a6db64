/** Conditions on a user's rights, of a guard or in the query of `/api/auth/verify`, with the meaning of Clerk's `has()`. */
import { type Authorization, inScope, withOrgPrefix } from './authorization.ts'

/** What a user must have; all that is named is needed. */
export interface Conditions {
  /** `org:admin`, in the active organization; the prefix may be left out. */
  role?: string
  /** `org:posts:edit`; of several, all are needed. */
  permission?: string | readonly string[]
  /** Id or slug of the organization that must be the active one; true for any. */
  organization?: string | true
  /** With or without scope: `pro`, `user:pro`, `org:team`. */
  plan?: string
  /** As `plan`. */
  feature?: string
  /** Minutes since the first factor was verified, at most. */
  maxFactorAge?: number
  /** Minutes since the second factor was verified, at most; without a second factor, since the first. */
  maxSecondFactorAge?: number
}

/** A condition that is not met, in words for the caller. */
export interface Unmet {
  kind: 'forbidden' | 'reverification'
  what: string
}

/** Whether a condition is about the active organization, so that the rows of the membership must be read. */
export const asksForMembership = ({ role, permission, organization }: Conditions): boolean =>
  role !== undefined || permission !== undefined || organization !== undefined

const NAME = /^[\w-]{1,255}(:[\w-]{1,255})*$/
// Clerk's scopes: o, org and organization, u and user.
const ENTITLEMENT = /^((o|org|organization|u|user):)?[\w-]{1,255}$/
// A year of minutes; Clerk's `has()` takes no 0 either.
const isMinutes = (value: unknown) => Number.isInteger(value) && Number(value) > 0 && Number(value) <= 525_600

const isText = (pattern: RegExp) => (value: unknown) => typeof value === 'string' && pattern.test(value)
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

/** The first entry that is no condition, or whose value cannot be one, by name; undefined when all are good. */
export function findBadCondition(given: object): string | undefined {
  const bad = Object.entries(given).find(
    ([name, value]) =>
      !Object.hasOwn(CHECKS, name) || (value !== undefined && !CHECKS[name as keyof Conditions](value)),
  )
  return bad?.[0]
}

/**
 * Reads conditions from a query string.
 * @returns the conditions, or the name of the parameter that is none
 */
export function parseConditions(query: string): Conditions | { bad: string } {
  const given: Record<string, unknown> = Object.create(null)
  for (const [name, value] of new URLSearchParams(query)) {
    if (name === 'permission') given[name] = [...((given[name] as string[] | undefined) ?? []), value]
    // Two values of the others cannot both be meant.
    else if (name in given) return { bad: name }
    else given[name] = /^max(Second)?FactorAge$/.test(name) && /^\d{1,6}$/.test(value) ? Number(value) : value
  }
  const bad = findBadCondition(given)
  return bad === undefined ? given : { bad }
}

/** The first condition that these rights do not meet; a lack of rights comes before an old factor. */
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

/** Without a scope, a plan or feature of either scope is meant. */
function includes(elements: readonly string[], wanted: string): boolean {
  const [name = '', scope] = wanted.split(':').toReversed()
  const scopes = scope === undefined ? (['o', 'u'] as const) : [scope.startsWith('o') ? ('o' as const) : ('u' as const)]
  return scopes.some((one) => inScope(elements, one).includes(name))
}
