/** Which of the session cookies that came counts. */
import { CLOCK_TOLERANCE_SECONDS } from './session-token.ts'

/** A copy of a session cookie, with what its claims say before they are verified. */
export interface CookieCopy {
  token: string
  /** Null where it cannot be read. */
  claims: { iss?: unknown; sub?: unknown; exp?: unknown; iat?: unknown } | null
}

/** More would only be tried if somebody forged them. */
const MAX_TRIED = 3

/**
 * The copies to try, in this order. Copies of one name that are identical, expired, unreadable or another issuer's do not count. A
 * name with copies that count takes precedence over the names behind it. Where none count, the best of the others is left to
 * say why.
 * @param names the copies of each name, the name that takes precedence first
 * @returns 'ambiguous' when copies of one name are for different users: whoever set the other one must not decide
 */
export function chooseCopies(
  names: readonly CookieCopy[][],
  { issuer, nowSeconds }: { issuer: string; nowSeconds: number },
): string[] | 'ambiguous' {
  const isOurs = ({ claims }: CookieCopy) => claims?.iss === issuer && typeof claims.sub === 'string'
  const isLive = ({ claims }: CookieCopy) =>
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
