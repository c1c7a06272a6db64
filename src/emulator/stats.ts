import { type RateLimit, SlidingWindow } from './rate-limit.ts'

const DEFAULT_WINDOW_MS = 10_000

/** The requests to the emulator since its start. */
export class Stats {
  /** Requests for the JWKS at the Frontend API. */
  jwksRequests = 0
  /** Requests for the JWKS at the Backend API, which requires the secret key. */
  backendJwksRequests = 0
  /** Requests to the Backend API, including refused ones, but not the JWKS. */
  apiRequests = 0
  /** The same by route, such as `GET /v1/users/:id`. */
  apiRequestsByPath: Record<string, number> = {}
  /** Requests answered with 429. */
  rateLimited = 0
  /** The most `apiRequests` within any window of the rate limit (10 s without a limit). */
  maxRequestsInWindow = 0

  readonly #limit: RateLimit | undefined
  readonly #asked: SlidingWindow
  readonly #granted: SlidingWindow

  constructor(limit: RateLimit | undefined) {
    this.#limit = limit
    this.#asked = new SlidingWindow(limit?.windowMs ?? DEFAULT_WINDOW_MS)
    this.#granted = new SlidingWindow(limit?.windowMs ?? DEFAULT_WINDOW_MS)
  }

  /**
   * Counts a request to the Backend API.
   *
   * @returns undefined within the rate limit, otherwise the seconds to wait, at least 1
   */
  countApiRequest(route: string, atMs: number): number | undefined {
    this.apiRequests++
    this.apiRequestsByPath[route] = (this.apiRequestsByPath[route] ?? 0) + 1
    this.maxRequestsInWindow = Math.max(this.maxRequestsInWindow, this.#asked.add(atMs))
    if (this.#limit && this.#granted.count(atMs) >= this.#limit.requests) {
      this.rateLimited++
      return Math.max(1, Math.ceil(this.#granted.msUntilFree(atMs) / 1000))
    }
    this.#granted.add(atMs)
    return undefined
  }
}
