/** Remembers verified tokens, so that each is verified once. It never remembers what can change later: users and sessions. */
import type { SessionToken } from '../domain/session-token.ts'

/** A verified token, with the facts on which that depends. */
export interface VerifiedToken {
  token: SessionToken
  kid: string | undefined
  /** The key that verified its signature. The result no longer counts once the issuer has withdrawn the key. */
  pem: string
  /** When it expires, including the clock tolerance, in milliseconds since 1970. */
  validUntilMs: number
}

export interface VerifiedTokensLimits {
  tokens: number
  /** The total length of all tokens. An entry takes about three times as much memory: the text and the parsed claims. */
  bytes: number
}

const KEY_LENGTH = 32

/**
 * A bounded store of verified tokens, in two halves: when the newer half is full, it takes the place of the older one. Tokens live for
 * a minute, so those of the older half have nearly always expired. Evicting them one by one would cost more than a lookup.
 */
export function createVerifiedTokens(limits: VerifiedTokensLimits) {
  let newer = new Map<string, VerifiedToken & { credential: string }>()
  let older: typeof newer = new Map()
  let bytes = 0
  // The end of the signature is enough as a key, and is hashed much faster. The whole token is compared too.
  const keyOf = (credential: string) => credential.slice(-KEY_LENGTH)

  return {
    /** The verified token for this text, unless it has expired. */
    find(credential: string, nowMs: number): VerifiedToken | undefined {
      const key = keyOf(credential)
      const verdict = newer.get(key) ?? older.get(key)
      return verdict?.credential === credential && nowMs <= verdict.validUntilMs ? verdict : undefined
    },
    /** Remembers a verified token; a full store forgets its older half. */
    keep(credential: string, { token, kid, pem, validUntilMs }: VerifiedToken): void {
      if (credential.length > limits.bytes / 2) return
      if (newer.size >= limits.tokens / 2 || bytes + credential.length > limits.bytes / 2) {
        older = newer
        newer = new Map()
        bytes = 0
      }
      newer.set(keyOf(credential), { token, kid, pem, validUntilMs, credential })
      bytes += credential.length
    },
    get size(): number {
      return newer.size + older.size
    },
  }
}
