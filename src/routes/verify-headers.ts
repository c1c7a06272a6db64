/** The headers in which forward-auth tells who the user is. */
import type { FastifyRequest } from 'fastify'
import type { SessionToken } from '../domain/session-token.ts'

const DESCRIPTIONS = {
  user: "Clerk's user id",
  email: 'The primary address if it is verified; percent-encoded beyond Latin-1, and % always',
  session: "Clerk's session id",
  organization: 'Id of the active organization',
  'organization-slug': 'Its slug',
  role: "The user's role there, as in webhooks: org:admin",
  permissions: 'With commas, sorted',
  plan: 'As in the token, with scopes: u:pro',
  features: 'As in the token, with scopes and commas',
  actor: 'Id of the user who impersonates this one',
}
type Name = keyof typeof DESCRIPTIONS
const NAMES = Object.keys(DESCRIPTIONS) as Name[]

// Headers carry Latin-1 without controls (RFC 9110, section 5.5). `%` is encoded in any case, so that decoding gives the text
// back, and no two texts become the same.
const toHeader = (text: string) =>
  /^[\x20-\x7e\xa0-\xff]*$/.test(text) ? text.replaceAll('%', '%25') : encodeURI(text.toWellFormed())

const headersOf = (values: Partial<Record<Name, string | null | undefined>>) =>
  Object.fromEntries(NAMES.map((name) => [`x-auth-request-${name}`, toHeader(values[name] ?? '')]))

/** All of them, empty: a proxy that copies a missing header passes on what the client sent, or a placeholder. */
export const NO_IDENTITY = headersOf({})

/** All of them for an authenticated request. */
export function identityHeaders({ clerkUser, clerkAuth, clerkOrganization }: FastifyRequest): Record<string, string> {
  const { plans, features, actorId, ...token } = (clerkAuth as SessionToken).authorization
  const organization = clerkOrganization ?? token.organization
  return headersOf({
    user: clerkUser?.id,
    // Anybody can sign up with an address that they do not own.
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

/** The same headers as OpenAPI describes them. */
export function describeIdentity() {
  const title = (name: string) => name.replace(/(^|-)./g, (letter) => letter.toUpperCase())
  return Object.fromEntries(
    NAMES.map((name) => [`X-Auth-Request-${title(name)}`, { type: 'string', description: DESCRIPTIONS[name] }]),
  )
}
