/**
 * Fetches a JWK set (RFC 7517) and converts its RSA keys to PEM. get-jwks converts them, but does not fetch: it has no deadline and
 * no size limit, and would fetch for every unknown kid.
 */
import { createPublicKey } from 'node:crypto'
import buildGetJwks from 'get-jwks'

const MAX_BODY_BYTES = 1024 * 1024
const MAX_KEYS = 1_000
const MAX_KID_LENGTH = 256
const MIN_MODULUS_BITS = 2_048 // RFC 7518, section 3.3
const MAX_NUMBER_LENGTH = 2_732 // 16,384 bits, OpenSSL's limit; jwk-to-pem would take a minute for a number of a megabyte

/** A usable key. */
export interface FoundKey {
  state: 'found'
  pem: string
}

/** The usable keys by kid. */
export type KeySet = ReadonlyMap<string, FoundKey>

/** Fetches the set's entries, unchecked. Rejects on anything but a 200 with JSON that has a `keys` array, within the limits. */
export async function fetchEntries(url: string, deadlineMs: number, controller: AbortController): Promise<unknown[]> {
  const giveUp = () => controller.abort(new Error(`no complete answer in ${deadlineMs} ms`))
  const deadline = setTimeout(giveUp, deadlineMs).unref()
  try {
    const { signal } = controller
    const response = await fetch(url, { headers: { accept: 'application/json' }, redirect: 'error', signal })
    if (response.status !== 200) throw new Error(`status ${response.status}`)
    const chunks: Uint8Array[] = []
    let bytes = 0
    // A 200 to a GET always has a body, which may be empty (fetch standard, "null body status").
    for await (const chunk of response.body as ReadableStream<Uint8Array>) {
      bytes += chunk.byteLength
      if (bytes > MAX_BODY_BYTES) throw new Error(`body over ${MAX_BODY_BYTES} bytes`)
      chunks.push(chunk)
    }
    // The parser's message quotes the body, which must not be logged.
    const set = (await new Response(Buffer.concat(chunks)).json().catch(() => null)) as { keys?: unknown } | null
    if (!Array.isArray(set?.keys)) throw new Error('body is not JSON with an array of keys')
    if (set.keys.length > MAX_KEYS) throw new Error(`more than ${MAX_KEYS} keys`)
    return set.keys
  } finally {
    clearTimeout(deadline)
    controller.abort() // A body that was not read to its end would keep its socket.
  }
}

/** The usable keys by kid, and the reasons why others were skipped, with counts, as JSON. Rejects if none is usable. */
export async function toKeySet(entries: unknown[], domain: string): Promise<{ keys: KeySet; skipped: string }> {
  // A new cache for each set, large enough and without expiry, so that get-jwks has every key and never fetches; the aborted
  // signal enforces it.
  const ttl = Number.MAX_SAFE_INTEGER // lru-cache refuses Infinity
  const fetchOptions = { signal: AbortSignal.abort() }
  const getJwks = buildGetJwks({ max: MAX_KEYS, ttl, issuersWhitelist: [domain], fetchOptions })
  // It caches promises, contrary to its types.
  const cache = getJwks.cache as unknown as { set(key: string, jwk: Promise<object>): void }
  const keys = new Map<string, FoundKey>()
  const skipped: Record<string, number> = {}
  for (const entry of entries) {
    try {
      const jwk = toRsaJwk(entry)
      if (keys.has(jwk.kid)) throw new Error('duplicate kid') // The first one is used, like in get-jwks.
      cache.set(getJwks.generateCacheKey('RS256', jwk.kid, domain), Promise.resolve(jwk))
      const pem = await getJwks.getPublicKey({ domain, alg: 'RS256', kid: jwk.kid })
      assertStrong(pem)
      keys.set(jwk.kid, Object.freeze({ state: 'found', pem }))
    } catch (error) {
      const reason = describeFetchError(error) // These messages, or OpenSSL's, never quote the key.
      skipped[reason] = (skipped[reason] ?? 0) + 1
    }
  }
  if (keys.size === 0) throw new Error(`no usable key in the set ${JSON.stringify(skipped)}`)
  return { keys, skipped: JSON.stringify(skipped) }
}

function toRsaJwk(entry: unknown) {
  const { kty, kid, use, alg, n, e } = entry as Record<string, unknown>
  if (kty !== 'RSA') throw new Error('not RSA')
  if (!isKid(kid)) throw new Error('no usable kid')
  if (use !== undefined && use !== 'sig') throw new Error('not for signatures')
  if (alg !== undefined && alg !== 'RS256') throw new Error('not for RS256')
  if (!isShortString(n, MAX_NUMBER_LENGTH) || !isShortString(e, MAX_NUMBER_LENGTH)) throw new Error('malformed')
  return { kty, kid, n, e }
}

/** Checks the PEM that will be used, not the JWK, because jwk-to-pem accepts any characters as base64. */
function assertStrong(pem: string): void {
  const details = createPublicKey(pem).asymmetricKeyDetails as { modulusLength: number; publicExponent: bigint }
  if (details.modulusLength < MIN_MODULUS_BITS) throw new Error(`under ${MIN_MODULUS_BITS} bits`)
  // With an exponent of 1 anybody could sign. An even exponent is not valid for RSA.
  if (details.publicExponent < 3n || details.publicExponent % 2n === 0n) throw new Error('malformed')
}

/** Whether a token's or key's kid has a usable length. */
export const isKid = (kid: unknown): kid is string => isShortString(kid, MAX_KID_LENGTH)

function isShortString(value: unknown, maxLength: number): value is string {
  return typeof value === 'string' && value !== '' && value.length <= maxLength
}

/** Reduces the error to one short line of printable ASCII, because the other side can influence some messages (TLS, HTTP parser). */
export function describeFetchError(error: unknown): string {
  const { message, cause } = error as Error & { cause?: { code?: string; message?: string } }
  const text = [message, cause?.code, cause?.message].filter(Boolean).join(': ')
  return text.replace(/[^\x20-\x7e]+/g, ' ').slice(0, 200)
}
