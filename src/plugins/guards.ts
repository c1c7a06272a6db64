/** What all guards have in common: they are made by a call, may ask for conditions, and keep their replies out of caches. */
import type { FastifyRequest, onRequestAsyncHookHandler } from 'fastify'
import type { Authorization } from '../domain/authorization.ts'
import { type Conditions, findBadCondition, findUnmet } from '../domain/conditions.ts'
import type { Membership } from '../domain/membership.ts'
import type { SessionToken } from '../domain/session-token.ts'
import { Forbidden, ReverificationRequired } from '../errors.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** The user's membership in the active organization; null where a guard did not ask for it, or there is none. */
    clerkOrganization: Membership | null
  }
}

/** The rights of an admitted request: what its rows say of the organization counts where they were read. */
export function authorizationOf({ clerkAuth, clerkOrganization }: FastifyRequest): Authorization {
  const { authorization } = clerkAuth as SessionToken
  return clerkOrganization ? { ...authorization, organization: clerkOrganization } : authorization
}

/** Makes guards; throws a TypeError on conditions that are none, so that the app fails at the start. */
export type GuardFactory = (conditions?: Conditions) => onRequestAsyncHookHandler

/** Makes a factory of guards: passed as a hook itself, by a forgotten `()`, it refuses instead of letting through. */
export function guardFactory(
  name: string,
  admit: (request: FastifyRequest, conditions: Conditions) => Promise<void>,
): GuardFactory {
  return (conditions = {}, ...misplaced: unknown[]) => {
    if (misplaced.length > 0) throw new TypeError(`${name} makes a guard: write onRequest: app.${name}()`)
    const bad = findBadCondition(conditions)
    if (bad !== undefined) throw new TypeError(`${name}: ${bad} is no condition, or its value cannot be one`)
    return async (request) => {
      request.clerkIsPrivate = true
      await admit(request, conditions)
      await checkConditions(request, conditions)
    }
  }
}

/** Rejects with the 403 of the first condition that the user of an admitted request does not meet. */
export async function checkConditions(request: FastifyRequest, conditions: Conditions): Promise<void> {
  const unmet = findUnmet(conditions, authorizationOf(request))
  if (!unmet) return
  throw unmet.kind === 'forbidden' ? new Forbidden(unmet.what) : new ReverificationRequired(unmet.what)
}
