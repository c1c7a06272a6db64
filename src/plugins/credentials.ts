/** Finds the session token of a request: in the Authorization header, otherwise in one of Clerk's cookies. */
import { createHash } from 'node:crypto'
import { parseCookie } from 'cookie'
import type { FastifyRequest } from 'fastify'
import { type JsonObject, parseJson } from '../domain/clean.ts'
import { chooseCookies, type SentCookie } from '../domain/session-cookie.ts'
import { InvalidToken, MissingToken } from '../errors.ts'

/** A token as it was sent. */
export interface Credential {
  token: string
  isCookie: boolean
}

export interface CredentialOptions {
  issuer: string
  allowsCookies: boolean
  /** Determines the cookie name of this Clerk instance; without it, only `__session` is read. */
  publishableKey?: string
}

const COOKIE = '__session'
const MAX_TOKEN_LENGTH = 16_384

/**
 * Clerk's session cookie name for one instance (`getCookieSuffix` in @clerk/shared), so that two apps on one domain do not share
 * a cookie.
 */
export const suffixedCookie = (publishableKey: string) =>
  `${COOKIE}_${createHash('sha1').update(publishableKey).digest('base64url').slice(0, 8)}`

/**
 * Makes the function that returns the tokens to try, in order; a bearer token takes precedence over cookies. It throws the
 * 401 that describes the fault.
 */
export function createCredentialFinder({ issuer, allowsCookies, publishableKey }: CredentialOptions) {
  const cookieNames = [...(publishableKey ? [suffixedCookie(publishableKey)] : []), COOKIE]

  return (request: FastifyRequest): Credential[] => {
    const bearer = findBearer(request)
    const tokens = bearer === undefined && allowsCookies ? findCookies(request) : [bearer ?? []].flat()
    if (tokens.length === 0) throw new MissingToken()
    if (tokens.some((token) => token.length > MAX_TOKEN_LENGTH)) throw new InvalidToken('it is too long')
    return tokens.map((token) => ({ token, isCookie: bearer === undefined }))
  }

  function findCookies({ headers: { cookie = '' } }: FastifyRequest): string[] {
    if (!cookie.includes(COOKIE)) return []
    const sent = cookie.split(';').map((pair) => parseCookie(pair))
    const names = cookieNames.map((name) => sent.flatMap((pair) => pair[name] || []).map(readCopy))
    const tokens = chooseCookies(names, { issuer, nowSeconds: Date.now() / 1000 })
    if (tokens === 'ambiguous') throw new InvalidToken('its cookie was sent several times for different users')
    return tokens
  }
}

function findBearer(request: FastifyRequest): string | undefined {
  const { authorization } = request.headers
  if (authorization === undefined) return undefined
  // Node.js silently keeps only the first of several Authorization headers.
  const { rawHeaders } = request.raw
  let given = 0
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] as string
    if (name.length === 13 && name.toLowerCase() === 'authorization') given += 1
  }
  if (given > 1) throw new InvalidToken('it was given twice')
  if (!/^bearer(?=\s|$)/i.test(authorization)) return undefined
  return authorization.slice(6).trim() || undefined
}

/** A cookie's token with its claims, which are not verified yet. */
function readCopy(token: string): SentCookie {
  const [, payload = ''] = token.length > MAX_TOKEN_LENGTH ? [] : token.split('.')
  try {
    const claims = parseJson(Buffer.from(payload, 'base64url').toString('utf8'))
    return { token, claims: typeof claims === 'object' ? (claims as JsonObject | null) : null }
  } catch {
    return { token, claims: null }
  }
}
