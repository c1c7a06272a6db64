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
 * A bounded store of verified tokens. The oldest is evicted first: tokens live for a minute, so it nearly always expires first.
 */
export function createVerifiedTokens(limits: VerifiedTokensLimits) {
  const verdicts = new Map<string, VerifiedToken & { credential: string }>()
  let bytes = 0
  // The end of the signature is enough as a key, and is hashed much faster. The whole token is compared too.
  const keyOf = (credential: string) => credential.slice(-KEY_LENGTH)

  function forget(key: string): void {
    bytes -= verdicts.get(key)?.credential.length ?? 0
    verdicts.delete(key)
  }

  return {
    /** The verified token for this text, unless it has expired. */
    find(credential: string, nowMs: number): VerifiedToken | undefined {
      const verdict = verdicts.get(keyOf(credential))
      return verdict?.credential === credential && nowMs <= verdict.validUntilMs ? verdict : undefined
    },
    /** Remembers a verified token, in place of the oldest if the store is full. */
    keep(credential: string, verdict: VerifiedToken): void {
      if (credential.length > limits.bytes) return
      const key = keyOf(credential)
      forget(key)
      while (verdicts.size >= limits.tokens || bytes + credential.length > limits.bytes) {
        forget(verdicts.keys().next().value as string)
      }
      verdicts.set(key, { ...verdict, credential })
      bytes += credential.length
    },
    get size(): number {
      return verdicts.size
    },
  }
}
