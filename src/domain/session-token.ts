/** What a session token must say to be one of ours, before and besides its signature. */
import { type Static, Type } from '@sinclair/typebox'
import { TypeCompiler } from '@sinclair/typebox/compiler'
import { type Authorization, readAuthorization } from './authorization.ts'
import type { JsonObject } from './clean.ts'

/** A verified session token, frozen through and through: requests that carry the same token share it. */
export interface SessionToken {
  readonly userId: string
  /** Null for tokens that belong to no session, as those of JWT templates may. */
  readonly sessionId: string | null
  /** The age of what the claims say of the user, in whole seconds: `oiat` where Clerk sets it, else `iat`. */
  readonly issuedAtSeconds: number
  /** The session waits for a task of Clerk's, such as choosing an organisation. */
  readonly isPending: boolean
  /** What the token says about the user's organization, plan, features and factors. */
  readonly authorization: Authorization
  readonly claims: Readonly<JsonObject>
}

export interface TokenRules {
  /** Must equal `iss`. */
  issuer: string
  /** When not empty, `azp` must be one of these. */
  authorizedParties: readonly string[]
  /** Lets bearer tokens without any `azp` pass: Clerk leaves it out for some clients without an `Origin`. */
  isAzpOptional: boolean
  /** Lets tokens of JWT templates pass, which are minted for third parties. */
  allowsJwtTemplates: boolean
}

// Clerk's token categories, in the protected header since 2025: JWT_CATEGORY_… in @clerk/backend.
const SESSION_CATEGORIES = new Set(['cl_B7d4PD111AAA', 'cl_I7d4PD111III'])
const TEMPLATE_CATEGORY = 'cl_B7d4PD222AAA'

export const CLOCK_TOLERANCE_SECONDS = 5

// Nothing in an id that a path, a log line or PostgreSQL could take for something else.
const Id = Type.String({ pattern: '^[\\w.-]{1,255}$' })
// Seconds since 1970, as far as a Date can go: fast-jwt makes one for its message and breaks on what lies beyond.
const Seconds = Type.Number({ minimum: 0, maximum: 8.64e12 })

const Header = Type.Object({
  alg: Type.Literal('RS256'),
  typ: Type.Optional(Type.Literal('JWT')),
  kid: Type.Optional(Id),
  cat: Type.Optional(Type.String()),
  oiat: Type.Optional(Seconds),
})
/** The protected header of a session token. */
export type TokenHeader = Static<typeof Header>

const Claims = Type.Object({
  iss: Type.String(),
  sub: Type.String({ pattern: '^user_[\\w.-]{1,250}$' }),
  sid: Type.Optional(Id),
  exp: Seconds,
  nbf: Type.Optional(Seconds),
  iat: Type.Optional(Seconds),
})

const headerCheck = TypeCompiler.Compile(Header)
const claimsCheck = TypeCompiler.Compile(Claims)

/** Why this header is none of a session token, or undefined. Never quotes the token. */
export function headerFault(header: JsonObject, { allowsJwtTemplates }: TokenRules): string | undefined {
  if (!headerCheck.Check(header)) return `its header has a wrong ${nameOf(headerCheck.Errors(header).First()?.path)}`
  // RFC 7797, section 7: no JWT may have b64, which is critical with or without being listed.
  if ('crit' in header || 'b64' in header) return 'its header has critical extensions'
  const { cat } = header
  if (cat === undefined || SESSION_CATEGORIES.has(cat)) return undefined
  if (cat === TEMPLATE_CATEGORY) return allowsJwtTemplates ? undefined : 'it was made by a JWT template'
  return 'it is not a session token'
}

/** Why these claims are none of a session token of ours, or undefined; the time of `exp` and `nbf` is not looked at. */
export function claimsFault(
  claims: JsonObject,
  rules: TokenRules,
  { isCookie, nowSeconds }: { isCookie: boolean; nowSeconds: number },
): string | undefined {
  if (!claimsCheck.Check(claims)) return `it has a wrong ${nameOf(claimsCheck.Errors(claims).First()?.path)}`
  if (claims.iss !== rules.issuer) return 'it has a wrong iss'
  if (claims.iat !== undefined && claims.iat > nowSeconds + CLOCK_TOLERANCE_SECONDS) return 'its iat is in the future'
  if (rules.authorizedParties.length === 0) return undefined
  const { azp } = claims as JsonObject
  if (azp === undefined) return rules.isAzpOptional && !isCookie ? undefined : 'it has no azp'
  return typeof azp === 'string' && rules.authorizedParties.includes(azp) ? undefined : 'it has a wrong azp'
}

const nameOf = (path = '') => path.slice(1) || 'form'

/** Reads a header and claims in which no fault was found, and freezes the claims. */
export function readSessionToken(header: TokenHeader, claims: JsonObject): SessionToken {
  return freeze({
    userId: claims.sub as string,
    sessionId: (claims.sid as string | undefined) ?? null,
    issuedAtSeconds: ageOf(header.oiat, claims.iat as number | undefined),
    isPending: claims.sts === 'pending',
    authorization: readAuthorization(claims),
    claims,
  })
}

// An `oiat` is older than the `iat` of the same token, or it is none.
const ageOf = (oiat: number | undefined, iat: number | undefined) =>
  Math.floor(iat === undefined ? 0 : Math.min(oiat ?? iat, iat))

// Without recursion, since claims may be nested deeper than the stack.
function freeze<T>(json: T): T {
  const open: unknown[] = [json]
  for (const value of open) {
    if (typeof value === 'object' && value !== null) open.push(...Object.values(Object.freeze(value)))
  }
  return json
}
