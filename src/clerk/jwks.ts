/**
 * The public keys that session tokens are verified with: the issuer's JWK set (RFC 7517), fetched whole, held as PEM.
 *
 * get-jwks turns a key into a PEM; the fetch is ours, because its own has no deadline and no size limit and asks anew
 * for every unknown kid. A look is a fetch that an unknown kid caused; a refresh is the timer's (and `start()`'s). There is
 * one fetch at a time, shared by all. A known kid is found without one, until the last good set is older than maxAgeMs.
 *
 *   an unknown kid meets…            | and gets
 *   ---------------------------------+------------------------------------------------------------------------------
 *   a fetch begun before it arrived  | a wait for it; not in there: what the lines below say
 *   a fetch begun since it arrived   | a wait for it, and its result: found, absent, or (failed) unavailable
 *   neither cool-down nor back-off   | a look of its own, and its result
 *   the cool-down                    | absent if the last fetch succeeded and began after the kid arrived, else unavailable
 *   the back-off                     | unavailable
 *
 * - The cool-down runs from the start of a look that succeeded. A refresh starts none: refreshes come by our own clock, so
 *   made-up kids cannot multiply them, and a key rotated in just after one (or just after the start) is looked for at once.
 * - The back-off follows any failed fetch: 1 s, 2 s, 4 s… up to cooldownMs, or 5 s without keys. The timer retries at its end, for ever.
 * - `absent` is the only answer that becomes a 401, hence the proof that it demands. A fetch begun before the kid arrived
 *   is none: the issuer may have rotated since. A kid's first arrival is remembered until it is found.
 */
import { createPublicKey } from 'node:crypto'
import buildGetJwks from 'get-jwks'

const MAX_BODY_BYTES = 1024 * 1024
const MAX_KEYS = 1_000
const MAX_KID_LENGTH = 256
const MIN_MODULUS_BITS = 2_048 // RFC 7518, section 3.3
const MAX_NUMBER_LENGTH = 2_732 // of 16,384 bits, OpenSSL's most; jwk-to-pem takes a minute over a megabyte
const MAX_ARRIVALS = 1_000
const LONGEST_COLD_RETRY_MS = 5_000
const FIRST_RETRY_MS = 1_000

/** Pino's and Fastify's loggers fit. */
export type JwksLog = Record<'info' | 'warn' | 'error', (details: object, message: string) => void>

export interface JwksOptions {
  /** The keys are at `{issuer}/.well-known/jwks.json`. From configuration, never from a token. */
  issuer: string
  /** For one whole fetch, headers and body: 3 s. */
  deadlineMs?: number
  /** The least time between two looks for unknown kids, and the longest between two retries: 30 s. */
  cooldownMs?: number
  /** From one good fetch to the next: 5 min. A key that the issuer withdrew is refused from then on. */
  refreshIntervalMs?: number
  /** How long the last good keys serve while the endpoint is down: 24 h. */
  maxAgeMs?: number
  log?: JwksLog
  /** A monotonic clock in milliseconds. */
  now?: () => number
}

export type KeyLookup =
  | { state: 'found'; pem: string }
  /** A fetch made since the kid arrived lacks it: the token is no good (401 INVALID_TOKEN). */
  | { state: 'absent' }
  /** Nobody can tell, or look, yet (503 JWKS_UNAVAILABLE). At least 1, whole. */
  | { state: 'unavailable'; retryAfterMs: number }

export interface JwksStatus {
  /** `stale`: the last fetch failed and the last good keys serve. `empty`: none serve (keyCount 0). */
  state: 'ok' | 'stale' | 'empty'
  keyCount: number
  /** Since the last good fetch; null before the first. */
  ageMs: number | null
  /** Why the last fetch failed, in printable ASCII; null when it did not. */
  lastError: string | null
  /** How long the last finished fetch took; null before the first. */
  lastFetchMs: number | null
  /** Fetches begun since creation, and those of them that failed. */
  fetches: number
  failures: number
  /** Until the next unknown kid may be looked for; 0 when it may be now. */
  retryAfterMs: number
}

export interface Jwks {
  /**
   * The key of a token's `kid` header. Synchronous, without a fetch, when the kid is known; else it may wait for a fetch under
   * way and one more (at most two deadlines). Never throws or rejects. May be repeated at will.
   */
  find(kid: string): KeyLookup | Promise<KeyLookup>
  /** The key where it is at hand; never causes a fetch. */
  peek(kid: string): Found | undefined
  /** Fetches the first set and begins the refreshes. Keeps no process alive. May be repeated, to no effect. */
  start(): void
  status(): JwksStatus
  /** Aborts a fetch under way (whoever waits for it gets `unavailable`) and ends the refreshes. Known kids are still found. */
  close(): void
}

type Found = Extract<KeyLookup, { state: 'found' }>
type KeySet = ReadonlyMap<string, Found>

const NO_KEYS: KeySet = new Map()
const ABSENT: KeyLookup = Object.freeze({ state: 'absent' })
const ignore = () => {}
const SILENT: JwksLog = { info: ignore, warn: ignore, error: ignore }

/** Throws a TypeError when the issuer is no URL, or one with credentials. Touches no network before `start()` or `find()`. */
export function createJwks({
  issuer,
  deadlineMs = 3_000,
  cooldownMs = 30_000,
  refreshIntervalMs = 300_000,
  maxAgeMs = 86_400_000,
  log = SILENT,
  now = () => performance.now(),
}: JwksOptions): Jwks {
  const { username, password } = new URL(issuer)
  // `fetch` would repeat them in its error, and so in the log.
  if (username || password) throw new TypeError('The issuer holds a user name or a password')
  const domain = issuer.endsWith('/') ? issuer : `${issuer}/`
  const url = new URL(`${domain}.well-known/jwks.json`).href

  let keys = NO_KEYS
  let skippedKeys = '{}'
  let goodAt = Number.NEGATIVE_INFINITY
  let goodFetch = 0
  let coolUntil = Number.NEGATIVE_INFINITY
  let backOffUntil = Number.NEGATIVE_INFINITY
  let failuresInARow = 0
  let lastError: string | null = null
  let lastFetchMs: number | null = null
  let fetches = 0
  let failures = 0
  let closed = false
  let timer: NodeJS.Timeout | undefined
  let flight: { number: number; controller: AbortController; done: Promise<void> } | undefined
  // Arrivals are dated by the number of fetches begun before them: exact where a clock would have ties.
  const arrivals = new Map<string, number>()

  const served = (): KeySet => (now() - goodAt <= maxAgeMs ? keys : NO_KEYS)
  const waitMs = (): number => Math.max(0, coolUntil - now(), backOffUntil - now())
  const unavailable = (): KeyLookup => ({ state: 'unavailable', retryAfterMs: Math.max(1, Math.ceil(waitMs())) })

  function launch(isLook: boolean): Promise<void> {
    clearTimeout(timer)
    const controller = new AbortController()
    fetches += 1
    flight = { number: fetches, controller, done: run(fetches, controller, isLook) }
    return flight.done
  }

  /** Never rejects: a failure is a state. */
  async function run(number: number, controller: AbortController, isLook: boolean): Promise<void> {
    const begunAt = now()
    let nextInMs = refreshIntervalMs
    try {
      const set = await toKeySet(await fetchEntries(url, deadlineMs, controller), domain)
      report(set.keys, set.skipped)
      keys = set.keys
      for (const kid of keys.keys()) arrivals.delete(kid)
      goodAt = now()
      goodFetch = number
      failuresInARow = 0
      lastError = null
      if (isLook) coolUntil = begunAt + cooldownMs
    } catch (error) {
      failures += 1
      failuresInARow += 1
      lastError = describe(error)
      // Without keys nobody can be let in: then it is tried again sooner.
      const longestMs = served().size > 0 ? cooldownMs : Math.min(cooldownMs, LONGEST_COLD_RETRY_MS)
      nextInMs = Math.min(longestMs, FIRST_RETRY_MS * 2 ** (failuresInARow - 1))
      backOffUntil = now() + nextInMs
      const level = served().size > 0 ? 'warn' : 'error'
      if (!closed) log[level]({ url, reason: lastError, failuresInARow, retryInMs: nextInMs }, 'JWKS fetch failed')
    }
    lastFetchMs = now() - begunAt
    flight = undefined
    if (!closed) timer = setTimeout(launch, nextInMs, false).unref()
  }

  /** Kids come from outside and stay out of the log: counts only. */
  function report(next: KeySet, skipped: string): void {
    const added = next.entries().filter(([kid, { pem }]) => keys.get(kid)?.pem !== pem)
    const removed = keys.keys().filter((kid) => !next.has(kid))
    const change = { keyCount: next.size, added: [...added].length, removed: [...removed].length }
    if (change.added + change.removed > 0) log.info(change, 'JWKS keys changed')
    if (failuresInARow > 0) log.info({ failuresInARow }, 'JWKS fetch recovered')
    if (skipped !== skippedKeys) log.warn({ skipped }, 'JWKS has keys that are of no use here')
    skippedKeys = skipped
  }

  async function seek(kid: string): Promise<KeyLookup> {
    const arrival = arrivals.get(kid) ?? fetches
    arrivals.set(kid, arrival)
    // Forgotten means newly arrived: made-up kids can turn a 401 into a 503 here, never the other way round.
    if (arrivals.size > MAX_ARRIVALS) arrivals.delete(arrivals.keys().next().value as string)
    const answer = () =>
      served().get(kid) ?? (!closed && failuresInARow === 0 && goodFetch > arrival ? ABSENT : unavailable())

    if (flight && flight.number <= arrival) {
      await flight.done
      if (served().has(kid)) return answer()
    }
    // Of many that waited, the first launches the look and the rest share it.
    if (flight) await flight.done
    else if (!closed && waitMs() === 0) await launch(true)
    return answer()
  }

  return {
    find(kid) {
      // Too long a kid for any set needs no look to be absent.
      return served().get(kid) ?? (isShortString(kid, MAX_KID_LENGTH) ? seek(kid) : ABSENT)
    },
    peek: (kid) => served().get(kid),
    start() {
      if (!closed && fetches === 0) launch(false)
    },
    status() {
      const { size: keyCount } = served()
      const state = keyCount === 0 ? 'empty' : failuresInARow > 0 ? 'stale' : 'ok'
      const ageMs = goodFetch > 0 ? now() - goodAt : null
      return { state, keyCount, ageMs, lastError, lastFetchMs, fetches, failures, retryAfterMs: Math.ceil(waitMs()) }
    },
    close() {
      closed = true
      clearTimeout(timer)
      flight?.controller.abort(new Error('closed'))
    },
  }
}

/** The set's entries, unchecked. Rejects on anything but a complete 200 of JSON with a `keys` array, in time and in size. */
async function fetchEntries(url: string, deadlineMs: number, controller: AbortController): Promise<unknown[]> {
  const giveUp = () => controller.abort(new Error(`no complete answer in ${deadlineMs} ms`))
  const deadline = setTimeout(giveUp, deadlineMs).unref()
  try {
    const { signal } = controller
    const response = await fetch(url, { headers: { accept: 'application/json' }, redirect: 'error', signal })
    if (response.status !== 200) throw new Error(`status ${response.status}`)
    const chunks: Uint8Array[] = []
    let bytes = 0
    // A 200 to a GET has a body, if an empty one (fetch standard, "null body status").
    for await (const chunk of response.body as ReadableStream<Uint8Array>) {
      bytes += chunk.byteLength
      if (bytes > MAX_BODY_BYTES) throw new Error(`body over ${MAX_BODY_BYTES} bytes`)
      chunks.push(chunk)
    }
    // The parser's own message quotes the body, which belongs in no log.
    const set = (await new Response(Buffer.concat(chunks)).json().catch(() => null)) as { keys?: unknown } | null
    if (!Array.isArray(set?.keys)) throw new Error('body is no JSON with an array of keys')
    if (set.keys.length > MAX_KEYS) throw new Error(`more than ${MAX_KEYS} keys`)
    return set.keys
  } finally {
    clearTimeout(deadline)
    controller.abort() // a body that was not read to its end would hold its socket
  }
}

/** The usable keys by kid, and why the rest are not, counted, as JSON. Rejects when none is usable. */
async function toKeySet(entries: unknown[], domain: string): Promise<{ keys: KeySet; skipped: string }> {
  // Made anew for each set, large enough and without expiry, so that get-jwks has every key that it is asked for and never
  // fetches: the aborted signal sees to it.
  const ttl = Number.MAX_SAFE_INTEGER // lru-cache takes no Infinity
  const fetchOptions = { signal: AbortSignal.abort() }
  const getJwks = buildGetJwks({ max: MAX_KEYS, ttl, issuersWhitelist: [domain], fetchOptions })
  // It caches promises, whatever its types say.
  const cache = getJwks.cache as unknown as { set(key: string, jwk: Promise<object>): void }
  const keys = new Map<string, Found>()
  const skipped: Record<string, number> = {}
  for (const entry of entries) {
    try {
      const jwk = toRsaJwk(entry)
      if (keys.has(jwk.kid)) throw new Error('kid seen before') // the first of two wins, as in get-jwks
      cache.set(getJwks.generateCacheKey('RS256', jwk.kid, domain), Promise.resolve(jwk))
      const pem = await getJwks.getPublicKey({ domain, alg: 'RS256', kid: jwk.kid })
      assertStrong(pem)
      keys.set(jwk.kid, Object.freeze({ state: 'found', pem }))
    } catch (error) {
      const reason = describe(error) // ours or OpenSSL's: none quotes the key
      skipped[reason] = (skipped[reason] ?? 0) + 1
    }
  }
  if (keys.size === 0) throw new Error(`no usable key in the set ${JSON.stringify(skipped)}`)
  return { keys, skipped: JSON.stringify(skipped) }
}

function toRsaJwk(entry: unknown) {
  const { kty, kid, use, alg, n, e } = entry as Record<string, unknown>
  if (kty !== 'RSA') throw new Error('not RSA')
  if (!isShortString(kid, MAX_KID_LENGTH)) throw new Error('no usable kid')
  if (use !== undefined && use !== 'sig') throw new Error('not for signatures')
  if (alg !== undefined && alg !== 'RS256') throw new Error('not for RS256')
  if (!isShortString(n, MAX_NUMBER_LENGTH) || !isShortString(e, MAX_NUMBER_LENGTH)) throw new Error('malformed')
  return { kty, kid, n, e }
}

/** Judges the PEM that will serve, not the JWK that it came from: jwk-to-pem takes any characters for base64. */
function assertStrong(pem: string): void {
  const details = createPublicKey(pem).asymmetricKeyDetails as { modulusLength: number; publicExponent: bigint }
  if (details.modulusLength < MIN_MODULUS_BITS) throw new Error(`under ${MIN_MODULUS_BITS} bits`)
  // With 1 for an exponent anyone can sign; an even one is no RSA key.
  if (details.publicExponent < 3n || details.publicExponent % 2n === 0n) throw new Error('malformed')
}

function isShortString(value: unknown, maxLength: number): value is string {
  return typeof value === 'string' && value !== '' && value.length <= maxLength
}

/** The other side has a say in some messages (TLS, HTTP parser): one short line of printable ASCII. */
function describe(error: unknown): string {
  const { message, cause } = error as Error & { cause?: { code?: string; message?: string } }
  const text = [message, cause?.code, cause?.message].filter(Boolean).join(': ')
  return text.replace(/[^\x20-\x7e]+/g, ' ').slice(0, 200)
}
