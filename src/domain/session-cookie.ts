/** Chooses among several session cookies of a request. */
import { CLOCK_TOLERANCE_SECONDS } from './session-token.ts'

/** A session cookie with its unverified claims. */
export interface SentCookie {
  token: string
  /** Null if it cannot be parsed. */
  claims: { iss?: unknown; sub?: unknown; exp?: unknown; iat?: unknown } | null
}

/** More cookies than this would only be sent by an attacker. */
const MAX_TRIED = 3

/**
 * The cookies to try, in order. Duplicates and cookies that are expired, unreadable or from another issuer do not count. A name
 * with cookies that count takes precedence over later names. If none counts, the best of the others is returned, so that its
 * verification explains the refusal.
 * @param names the cookies of each name, in order of precedence
 * @returns 'ambiguous' if cookies of one name belong to different users, because one of them may have been planted by another site
 */
export function chooseCookies(
  names: readonly SentCookie[][],
  { issuer, nowSeconds }: { issuer: string; nowSeconds: number },
): string[] | 'ambiguous' {
  const isOurs = ({ claims }: SentCookie) => claims?.iss === issuer && typeof claims.sub === 'string'
  const isLive = ({ claims }: SentCookie) =>
    typeof claims?.exp === 'number' && claims.exp + CLOCK_TOLERANCE_SECONDS >= nowSeconds
  for (const copies of names) {
    const counting = copies.filter((copy) => isOurs(copy) && isLive(copy))
    if (counting.length === 0) continue
    if (new Set(counting.map(({ claims }) => claims?.sub)).size > 1) return 'ambiguous'
    const newestFirst = counting.toSorted((a, b) => Number(b.claims?.iat) - Number(a.claims?.iat))
    return [...new Set(newestFirst.map(({ token }) => token))].slice(0, MAX_TRIED)
  }
  const others = names.flat()
  const best = others.find(isOurs) ?? others[0]
  return best ? [best.token] : []
}
