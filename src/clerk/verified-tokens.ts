/** Tokens that were verified, so that each is verified once. What may change later (users, sessions) is never kept here. */
import type { SessionToken } from '../domain/session-token.ts'

/** A verified token, with what its verdict rests on. */
export interface VerifiedToken {
  token: SessionToken
  kid: string | undefined
  /** The key that its signature was verified with: once the key is gone, so is the verdict. */
  pem: string
  /** The end of its validity, tolerance included, in milliseconds since 1970. */
  validUntilMs: number
}

export interface VerifiedTokensLimits {
  tokens: number
  /** Of all credentials together. A verdict takes about three times its credential: the text, and the claims parsed. */
  bytes: number
}

const KEY_LENGTH = 32

/**
 * A bounded store of verdicts, by the whole credential. The oldest goes first: tokens live for a minute, so that it is
 * nearly always the one that is over soonest.
 */
export function createVerifiedTokens(limits: VerifiedTokensLimits) {
  const verdicts = new Map<string, VerifiedToken & { credential: string }>()
  let bytes = 0
  // The end of the signature tells tokens apart, and is hashed in a fraction of the time; what was kept is compared whole.
  const keyOf = (credential: string) => credential.slice(-KEY_LENGTH)

  function forget(key: string): void {
    bytes -= verdicts.get(key)?.credential.length ?? 0
    verdicts.delete(key)
  }

  return {
    /** The verdict on a credential, unless its time is over. */
    find(credential: string, nowMs: number): VerifiedToken | undefined {
      const verdict = verdicts.get(keyOf(credential))
      return verdict?.credential === credential && nowMs <= verdict.validUntilMs ? verdict : undefined
    },
    /** Keeps a verdict in the place of the oldest. */
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
