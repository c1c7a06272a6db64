/** The identity headers of forward-auth. */
import type { FastifyRequest } from 'fastify'
import type { SessionToken } from '../domain/session-token.ts'

const DESCRIPTIONS = {
  user: "Clerk's user id",
  email: 'The primary email address if it is verified; `%` and characters beyond Latin-1 are percent-encoded',
  session: "Clerk's session id",
  organization: 'Id of the active organization',
  'organization-slug': 'Slug of the active organization',
  role: "The user's role in the active organization, such as org:admin",
  permissions: "The user's permissions, comma-separated and sorted",
  plan: 'As in the token, with its scope: u:pro',
  features: 'As in the token, with scopes, comma-separated',
  actor: 'Id of the user who impersonates this one',
}
type Name = keyof typeof DESCRIPTIONS
const NAMES = Object.keys(DESCRIPTIONS) as Name[]

// Headers hold Latin-1 without control characters (RFC 9110, section 5.5). `%` is always encoded, so that decoding returns the
// exact text.
const toHeader = (text: string) =>
  /^[\x20-\x7e\xa0-\xff]*$/.test(text) ? text.replaceAll('%', '%25') : encodeURI(text.toWellFormed())

const headersOf = (values: Partial<Record<Name, string | null | undefined>>) =>
  Object.fromEntries(NAMES.map((name) => [`x-auth-request-${name}`, toHeader(values[name] ?? '')]))

/** All identity headers, empty: a proxy that copies a missing header would pass on the client's own, or a placeholder. */
export const NO_IDENTITY = headersOf({})

/** All identity headers of an authenticated request. */
export function identityHeaders({ clerkUser, clerkAuth, clerkOrganization }: FastifyRequest): Record<string, string> {
  const { plans, features, actorId, ...token } = (clerkAuth as SessionToken).authorization
  const organization = clerkOrganization ?? token.organization
  return headersOf({
    user: clerkUser?.id,
    // Only a verified address, because anybody can sign up with an address that they do not own.
    email: clerkUser?.emailVerified ? clerkUser.email : null,
    session: clerkAuth?.sessionId,
    organization: organization?.id,
    'organization-slug': organization?.slug,
    role: organization?.role,
    permissions: organization?.permissions.join(),
    plan: plans.join(),
    features: features.join(),
    actor: actorId,
  })
}

/** The OpenAPI description of these headers. */
export function describeIdentity() {
  const title = (name: string) => name.replace(/(^|-)./g, (letter) => letter.toUpperCase())
  return Object.fromEntries(
    NAMES.map((name) => [`X-Auth-Request-${title(name)}`, { type: 'string', description: DESCRIPTIONS[name] }]),
  )
}
