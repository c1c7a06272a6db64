/**
 * A fast first check of a session token by Node.js' `crypto.verify`. It only accepts tokens; @fastify/jwt decides about all others.
 * @fastify/jwt alone would be slower, because it parses the PEM of the key for each token.
 */
import { createPublicKey, type KeyObject, verify } from 'node:crypto'
import type { JsonObject } from '../domain/clean.ts'
import { claimsFault, headerFault, type TokenHeader, type TokenRules } from '../domain/session-token.ts'

/** The parts of a token that was accepted. */
export interface AcceptedToken {
  header: JsonObject
  payload: JsonObject
}

export interface NativeTokensOptions {
  rules: TokenRules
  /** The PEM of a key; undefined if it would have to be fetched. */
  findPem: (kid: string | undefined) => string | undefined
}

const FORM = /^([\w-]+)\.([\w-]+)\.([\w-]+)$/
// An issuer has a few keys, and changes them rarely.
const MAX_KEYS = 16

/**
 * Makes the check, which takes the current time in ms. It returns undefined if @fastify/jwt has to decide, for example about a token
 * that is valid only within the clock tolerance.
 */
export function createNativeTokens({ rules, findPem }: NativeTokensOptions) {
  const keys = new Map<string, KeyObject>()

  function keyOf(pem: string): KeyObject {
    let key = keys.get(pem)
    if (key) return key
    if (keys.size >= MAX_KEYS) keys.clear()
    key = createPublicKey(pem)
    keys.set(pem, key)
    return key
  }

  return (token: string, isCookie: boolean, nowMs: number): AcceptedToken | undefined => {
    const [, head, body, tail] = FORM.exec(token) ?? []
    if (head === undefined || body === undefined || tail === undefined) return undefined
    const signature = Buffer.from(tail, 'base64url')
    // The last character has unused bits: without this check, a token could be spelled in several ways.
    if (signature.toString('base64url') !== tail) return undefined
    const header = parseObject(head)
    const payload = parseObject(body)
    if (!header || !payload || headerFault(header, rules)) return undefined
    const nowSeconds = nowMs / 1000
    if (claimsFault(payload, rules, { isCookie, nowSeconds })) return undefined
    const { exp, nbf = 0 } = payload as { exp: number; nbf?: number }
    if (exp <= nowSeconds || nbf > nowSeconds) return undefined
    const pem = findPem((header as TokenHeader).kid)
    if (pem === undefined) return undefined
    const key = keyOf(pem)
    const isGood = key.asymmetricKeyType === 'rsa' && verify('sha256', Buffer.from(`${head}.${body}`), key, signature)
    return isGood ? { header, payload } : undefined
  }
}

function parseObject(segment: string): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(segment, 'base64url').toString())
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as JsonObject) : undefined
  } catch {
    return undefined
  }
}
