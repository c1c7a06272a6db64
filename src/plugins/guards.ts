/** The common parts of all guards: they are made by a call, accept conditions, and keep replies out of caches. */
import type { FastifyInstance, FastifyRequest, onRequestAsyncHookHandler } from 'fastify'
import type { Authorization } from '../domain/authorization.ts'
import { CONDITION_FORMS, type Conditions, findBadCondition, findUnmet } from '../domain/conditions.ts'
import type { Membership } from '../domain/membership.ts'
import type { SessionToken } from '../domain/session-token.ts'
import { Forbidden, ReverificationRequired } from '../errors.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** The user's membership in the active organization; null if there is none or the guard did not ask for it. */
    clerkOrganization: Membership | null
  }
}

/** The rights of an admitted request: from the rows of the organization if they were read, otherwise from the token. */
export function authorizationOf({ clerkAuth, clerkOrganization }: FastifyRequest): Authorization {
  const { authorization } = clerkAuth as SessionToken
  return clerkOrganization ? { ...authorization, organization: clerkOrganization } : authorization
}

/** Makes a guard. Throws a TypeError on invalid conditions, so that the app fails at startup. */
export type GuardFactory = (conditions?: Conditions) => onRequestAsyncHookHandler

/** Makes a factory of guards. If it is passed as a hook itself because `()` was forgotten, it throws instead of admitting. */
function guardFactory(
  name: string,
  admit: (request: FastifyRequest, conditions: Conditions) => Promise<void>,
): GuardFactory {
  return (conditions = {}, ...misplaced: unknown[]) => {
    if (misplaced.length > 0) throw uncalled(name)
    assertConditions(name, conditions)
    const hasConditions = Object.keys(conditions).length > 0
    return async (request) => {
      request.clerkIsPrivate = true
      await admit(request, conditions)
      if (hasConditions) await checkConditions(request, conditions)
    }
  }
}

/** @throws TypeError that names the first condition that is unknown or has an invalid value */
export function assertConditions(name: string, conditions: Conditions): void {
  const bad = findBadCondition(conditions)
  if (bad !== undefined) throw new TypeError(`${name}: ${describeBad(bad)}`)
}

function describeBad(condition: string): string {
  return !Object.hasOwn(CONDITION_FORMS, condition)
    ? `unknown condition: ${condition}. Known: ${Object.keys(CONDITION_FORMS).join(', ')}`
    : `${condition}: expected ${CONDITION_FORMS[condition as keyof Conditions]}`
}

/** Decorates the app with a factory of guards. A route on which `()` was forgotten makes the start fail. */
export function decorateWithGuard(
  app: FastifyInstance,
  name: 'requireClerkAuth' | 'requireClerkUser',
  admit: (request: FastifyRequest, conditions: Conditions) => Promise<void>,
): void {
  const factory: unknown = guardFactory(name, admit)
  app.decorate(name, factory as GuardFactory)
  app.addHook('onRoute', ({ onRequest, preParsing, preValidation, preHandler }) => {
    if ([onRequest, preParsing, preValidation, preHandler].flat().some((hook) => hook === factory)) throw uncalled(name)
  })
}

const uncalled = (name: string) => new TypeError(`${name} makes a guard: write onRequest: app.${name}()`)

/** Rejects with the 403 of the first condition that the user of an admitted request does not meet. */
export async function checkConditions(request: FastifyRequest, conditions: Conditions): Promise<void> {
  const unmet = findUnmet(conditions, authorizationOf(request))
  if (!unmet) return
  throw unmet.kind === 'forbidden' ? new Forbidden(unmet.what) : new ReverificationRequired(unmet.what)
}
