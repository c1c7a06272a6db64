import { type KeyObject, randomBytes } from 'node:crypto'
import type { Session, User } from './schemas.ts'
import { type SigningKeys, signJwt } from './signing-keys.ts'

/** The `cat` of a session token, from `@clerk/backend` (JWT_CATEGORY_SESSION_TOKEN). */
const SESSION_TOKEN_CATEGORY = 'cl_B7d4PD111AAA'
/** Clerk backdates `nbf` a little, for verifiers whose clock is slow. */
const NOT_BEFORE_LEEWAY_SECONDS = 10

/** The instance's "customize session token" setting: claims to add. `user` is undefined after its deletion. */
export type SessionClaims = (user: User, session: Session) => object

/** How a token may differ from what Clerk would issue. */
export interface TokenOverrides {
  /** Merged over the header; the signature is RS256 regardless of `alg`. */
  header?: object
  /** Merged over the claims. */
  claims?: object
  /** Replaces the instance's token lifetime; negative for an expired token. */
  expiresInSeconds?: number
  /** The signing key, PEM or KeyObject, instead of the current one. */
  privateKey?: KeyObject | string
  /** The `kid` in the header, instead of the current key's. */
  kid?: string
  /** Claims to leave out. */
  omit?: string[]
}

export interface TokenInput {
  session: Session
  customClaims: object
  issuer: string
  authorizedParty: string
  ttlSeconds: number
  nowMs: number
  keys: SigningKeys
}

/**
 * A signed session token with version 2 claims.
 *
 * Source: https://clerk.com/docs/guides/sessions/session-tokens.
 */
export function mintSessionToken(input: TokenInput, overrides: TokenOverrides = {}): string {
  const { session, nowMs, keys } = input
  const iat = Math.floor(nowMs / 1000)
  const claims: Record<string, unknown> = {
    ...input.customClaims,
    azp: input.authorizedParty,
    exp: iat + (overrides.expiresInSeconds ?? input.ttlSeconds),
    // Minutes since the first and the second factor were verified; -1 means that there is no second factor.
    fva: [Math.max(0, Math.floor((nowMs - session.created_at) / 60_000)), -1],
    iat,
    iss: input.issuer,
    jti: randomBytes(10).toString('hex'),
    nbf: iat - NOT_BEFORE_LEEWAY_SECONDS,
    sid: session.id,
    sts: session.status === 'pending' ? 'pending' : 'active',
    sub: session.user_id,
    v: 2,
    ...overrides.claims,
  }
  for (const name of overrides.omit ?? []) delete claims[name]
  const header = {
    alg: 'RS256',
    cat: SESSION_TOKEN_CATEGORY,
    kid: overrides.kid ?? keys.current.kid,
    typ: 'JWT',
    ...overrides.header,
  }
  return signJwt(header, claims, overrides.privateKey ?? keys.current.privateKey)
}
