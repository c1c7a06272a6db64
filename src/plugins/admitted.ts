/** Typed access to what a guard put on its request, for handlers that would otherwise have to check for null. */
import type { FastifyRequest } from 'fastify'
import type { Membership } from '../domain/membership.ts'
import type { SessionToken } from '../domain/session-token.ts'
import type { User } from '../resources/user/payload.ts'

/** The row of the user whom `requireClerkUser()` admitted. Throws a TypeError on a route without that guard. */
export const getClerkUser = ({ clerkUser }: FastifyRequest): User => found('clerkUser', clerkUser, 'requireClerkUser()')

/** The verified token that `requireClerkAuth()` or `requireClerkUser()` admitted. Throws a TypeError on a route without a guard. */
export const getClerkAuth = ({ clerkAuth }: FastifyRequest): SessionToken =>
  found('clerkAuth', clerkAuth, 'requireClerkAuth()')

/**
 * The membership that `requireClerkUser()` read for a condition on the organization: `organization`, `role` or `permission`.
 * Throws a TypeError on other routes.
 */
export const getClerkOrganization = ({ clerkOrganization }: FastifyRequest): Membership =>
  found('clerkOrganization', clerkOrganization, 'requireClerkUser({ organization: true })')

function found<T>(name: string, value: T | null, guard: string): T {
  if (value === null) throw new TypeError(`no guard of this route sets request.${name}: add onRequest: app.${guard}`)
  return value
}
