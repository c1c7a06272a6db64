/** The rules for a session token's header and claims, in addition to its signature. */
import { type Static, Type } from '@sinclair/typebox'
import { TypeCompiler } from '@sinclair/typebox/compiler'
import { type Authorization, readAuthorization } from './authorization.ts'
import type { JsonObject } from './clean.ts'

/** A verified session token, deeply frozen because requests with the same token share it. */
export interface SessionToken {
  readonly userId: string
  /** Null for tokens without a session, such as some of JWT templates. */
  readonly sessionId: string | null
  /** When the claims about the user were true, in whole seconds: `oiat` if Clerk sets it, otherwise `iat`. */
  readonly issuedAtSeconds: number
  /** The session has a pending task, such as choosing an organization. */
  readonly isPending: boolean
  /** The user's organization, plan, features and factors, from the token. */
  readonly authorization: Authorization
  readonly claims: Readonly<JsonObject>
}

export interface TokenRules {
  /** Must equal `iss`. */
  issuer: string
  /** If not empty, `azp` must be one of these. */
  authorizedParties: readonly string[]
  /** Accepts bearer tokens without `azp`, which Clerk leaves out for some clients without an `Origin`. */
  isAzpOptional: boolean
  /** Accepts tokens of JWT templates, which are made for third parties. */
  allowsJwtTemplates: boolean
}

// Clerk's token categories, in the protected header since 2025: JWT_CATEGORY_… in @clerk/backend.
const SESSION_CATEGORIES = new Set(['cl_B7d4PD111AAA', 'cl_I7d4PD111III'])
const TEMPLATE_CATEGORY = 'cl_B7d4PD222AAA'

export const CLOCK_TOLERANCE_SECONDS = 5

// Only characters that are safe in a path, a log line and PostgreSQL.
const Id = Type.String({ pattern: '^[\\w.-]{1,255}$' })
// Seconds since 1970, within the range of a Date: fast-jwt makes a Date for its error message and throws on larger values.
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

/** Why this header does not belong to a session token, or undefined. Never quotes the token. */
export function headerFault(header: JsonObject, { allowsJwtTemplates }: TokenRules): string | undefined {
  if (!headerCheck.Check(header)) return `its header has a wrong ${nameOf(headerCheck.Errors(header).First()?.path)}`
  // RFC 7797, section 7: a JWT must not have b64, which is critical even if it is not listed.
  if ('crit' in header || 'b64' in header) return 'its header has critical extensions'
  const { cat } = header
  if (cat === undefined || SESSION_CATEGORIES.has(cat)) return undefined
  if (cat === TEMPLATE_CATEGORY) return allowsJwtTemplates ? undefined : 'it was made by a JWT template'
  return 'it is not a session token'
}

/** Why these claims are not valid for this service, or undefined; `exp` and `nbf` are not checked. */
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

/** Reads a valid header and claims. Most requests need only the ids: the rest is decoded and frozen when it is asked for. */
export function readSessionToken(header: TokenHeader, claims: JsonObject): SessionToken {
  let frozenClaims: JsonObject | undefined
  let rights: Authorization | undefined
  return Object.freeze({
    userId: claims.sub as string,
    sessionId: (claims.sid as string | undefined) ?? null,
    issuedAtSeconds: ageOf(header.oiat, claims.iat as number | undefined),
    isPending: claims.sts === 'pending',
    get authorization() {
      rights ??= freeze(readAuthorization(claims))
      return rights
    },
    get claims() {
      frozenClaims ??= freeze(claims)
      return frozenClaims
    },
  })
}

// A valid `oiat` is not newer than the `iat` of the same token.
const ageOf = (oiat: number | undefined, iat: number | undefined) =>
  Math.floor(iat === undefined ? 0 : Math.min(oiat ?? iat, iat))

// Without recursion, because claims may be nested deeper than the stack allows.
function freeze<T>(json: T): T {
  const open: unknown[] = [json]
  for (const value of open) {
    if (typeof value === 'object' && value !== null) open.push(...Object.values(Object.freeze(value)))
  }
  return json
}
