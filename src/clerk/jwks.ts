/**
 * The public keys that session tokens are verified with: the issuer's JWK set (RFC 7517), fetched whole and kept as PEM.
 *
 * A fetch is either a refresh, which a timer starts, or a lookup, which an unknown kid starts. There is one fetch at a time, and all
 * callers share it. A known kid needs none, until the last good set is older than maxAgeMs.
 *
 *   when an unknown kid arrives…                | it
 *   --------------------------------------------+----------------------------------------------------------------------
 *   during a fetch that began before it arrived | waits for the fetch; if the kid is not in there, the lines below apply
 *   during a fetch that began since it arrived  | waits for it, and gets its result: found, absent or (failed) unavailable
 *   outside cool-down and back-off              | starts a lookup, and gets its result
 *   during the cool-down                        | is absent if the last fetch succeeded and began after it arrived, else unavailable
 *   during the back-off                         | is unavailable
 *
 * - The cool-down starts when a successful lookup starts. A refresh starts none: the timer paces refreshes, so made-up kids
 *   cannot multiply them, and a key that was rotated in just after a refresh is fetched at once.
 * - The back-off follows every failed fetch: 1 s, 2 s, 4 s… up to cooldownMs, or 5 s without keys. At its end the timer fetches
 *   again, forever.
 * - Only `absent` becomes a 401, so it needs proof. A fetch that began before the kid arrived is no proof, because the issuer may
 *   have rotated its keys since. The first arrival of a kid is remembered until the kid is found.
 */
import { describeFetchError, type FoundKey, fetchEntries, isKid, type KeySet, toKeySet } from './jwk-set.ts'

const MAX_ARRIVALS = 1_000
const LONGEST_COLD_RETRY_MS = 5_000
const FIRST_RETRY_MS = 1_000

/** A logger such as Pino's or Fastify's. */
export type JwksLog = Record<'info' | 'warn' | 'error', (details: object, message: string) => void>

export interface JwksOptions {
  /** The keys are fetched from `{issuer}/.well-known/jwks.json`. Comes from the configuration, never from a token. */
  issuer: string
  /** The time limit of a whole fetch, headers and body; 3 s by default. */
  deadlineMs?: number
  /** The shortest time between two lookups of unknown kids, and the longest between two retries; 30 s by default. */
  cooldownMs?: number
  /** The time between refreshes; 5 min by default. A key that the issuer withdrew is refused after the next one. */
  refreshIntervalMs?: number
  /** How long the last good keys are used while the endpoint is down; 24 h by default. */
  maxAgeMs?: number
  log?: JwksLog
  /** A monotonic clock in milliseconds. */
  now?: () => number
}

export type KeyLookup =
  | FoundKey
  /** A fetch that began after the kid arrived does not have it: the token is not valid (401 INVALID_TOKEN). */
  | { state: 'absent' }
  /** It is not known yet, and no lookup may start yet (503 JWKS_UNAVAILABLE). `retryAfterMs` is an integer, at least 1. */
  | { state: 'unavailable'; retryAfterMs: number }

export interface JwksStatus {
  /** `stale`: the last fetch failed, and the last good keys are used. `empty`: there are no keys. */
  state: 'ok' | 'stale' | 'empty'
  keyCount: number
  /** The time since the last good fetch; null before the first. */
  ageMs: number | null
  /** Why the last fetch failed, in printable ASCII; null if it succeeded. */
  lastError: string | null
  /** How long the last finished fetch took; null before the first. */
  lastFetchMs: number | null
  /** Fetches begun since creation, and those of them that failed. */
  fetches: number
  failures: number
  /** The time until a lookup may start; 0 if it may start now. */
  retryAfterMs: number
}

export interface Jwks {
  /**
   * The key for the `kid` of a token's header. The result is immediate if the kid is known; otherwise it may wait for the current
   * fetch and one more (at most two deadlines). Never throws or rejects, and may be repeated at any rate.
   */
  find(kid: string): KeyLookup | Promise<KeyLookup>
  /** The key if it is known; never starts a fetch. */
  peek(kid: string): FoundKey | undefined
  /** Fetches the first set and starts the refreshes. They do not keep the process alive. Repeating it changes nothing. */
  start(): void
  status(): JwksStatus
  /** Aborts the current fetch, whose callers get `unavailable`, and ends the refreshes. Known kids are still found. */
  close(): void
}

const NO_KEYS: KeySet = new Map()
const ABSENT: KeyLookup = Object.freeze({ state: 'absent' })
const ignore = () => {}
const SILENT: JwksLog = { info: ignore, warn: ignore, error: ignore }

/** Makes the key store. It fetches nothing before `start()` or `find()`. Throws a TypeError if the issuer is not a URL, or has credentials. */
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
  // `fetch` would quote them in its error, which is logged.
  if (username || password) throw new TypeError('The issuer contains a user name or a password')
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
  let current: { number: number; controller: AbortController; done: Promise<void> } | undefined
  // An arrival is dated by the number of fetches that began before it, because times may be equal.
  const arrivals = new Map<string, number>()

  const served = (): KeySet => (now() - goodAt <= maxAgeMs ? keys : NO_KEYS)
  const waitMs = (): number => Math.max(0, coolUntil - now(), backOffUntil - now())
  const unavailable = (): KeyLookup => ({ state: 'unavailable', retryAfterMs: Math.max(1, Math.ceil(waitMs())) })

  function launch(isLookup: boolean): Promise<void> {
    clearTimeout(timer)
    const controller = new AbortController()
    fetches += 1
    current = { number: fetches, controller, done: run(fetches, controller, isLookup) }
    return current.done
  }

  /** Never rejects: a failure is recorded in the state. */
  async function run(number: number, controller: AbortController, isLookup: boolean): Promise<void> {
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
      if (isLookup) coolUntil = begunAt + cooldownMs
    } catch (error) {
      failures += 1
      failuresInARow += 1
      lastError = describeFetchError(error)
      // Without keys every token is refused, so the retries are more frequent.
      const longestMs = served().size > 0 ? cooldownMs : Math.min(cooldownMs, LONGEST_COLD_RETRY_MS)
      nextInMs = Math.min(longestMs, FIRST_RETRY_MS * 2 ** (failuresInARow - 1))
      backOffUntil = now() + nextInMs
      const level = served().size > 0 ? 'warn' : 'error'
      if (!closed) log[level]({ url, reason: lastError, failuresInARow, retryInMs: nextInMs }, 'JWKS fetch failed')
    }
    lastFetchMs = now() - begunAt
    current = undefined
    if (!closed) timer = setTimeout(launch, nextInMs, false).unref()
  }

  /** Logs counts only, because kids come from outside. */
  function report(next: KeySet, skipped: string): void {
    const added = next.entries().filter(([kid, { pem }]) => keys.get(kid)?.pem !== pem)
    const removed = keys.keys().filter((kid) => !next.has(kid))
    const change = { keyCount: next.size, added: [...added].length, removed: [...removed].length }
    if (change.added + change.removed > 0) log.info(change, 'JWKS keys changed')
    if (failuresInARow > 0) log.info({ failuresInARow }, 'JWKS fetch recovered')
    if (skipped !== skippedKeys) log.warn({ skipped }, 'the JWKS has unusable keys, which are skipped')
    skippedKeys = skipped
  }

  async function seek(kid: string): Promise<KeyLookup> {
    const arrival = arrivals.get(kid) ?? fetches
    arrivals.set(kid, arrival)
    // A kid that was forgotten counts as newly arrived. So made-up kids can turn a 401 into a 503, but never a 503 into a 401.
    if (arrivals.size > MAX_ARRIVALS) arrivals.delete(arrivals.keys().next().value as string)
    const answer = () =>
      served().get(kid) ?? (!closed && failuresInARow === 0 && goodFetch > arrival ? ABSENT : unavailable())

    if (current && current.number <= arrival) {
      await current.done
      if (served().has(kid)) return answer()
    }
    // Of the callers that waited, the first starts the lookup, and the others share it.
    if (current) await current.done
    else if (!closed && waitMs() === 0) await launch(true)
    return answer()
  }

  return {
    find(kid) {
      // No key of the set has such a long kid, so it is absent without a fetch.
      return served().get(kid) ?? (isKid(kid) ? seek(kid) : ABSENT)
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
      current?.controller.abort(new Error('closed'))
    },
  }
}
