/** A limit of requests in a sliding window. */
export interface RateLimit {
  requests: number
  windowMs: number
}

export type EnvironmentType = 'development' | 'production'

/** Clerk's limits of the Backend API. Source: https://clerk.com/docs/guides/how-clerk-works/system-limits. */
export const CLERK_RATE_LIMITS: Record<EnvironmentType, RateLimit> = {
  development: { requests: 100, windowMs: 10_000 },
  production: { requests: 1_000, windowMs: 10_000 },
}

/** Moments that lie within the last `windowMs`. */
export class SlidingWindow {
  readonly #windowMs: number
  #moments: number[] = []
  #start = 0

  constructor(windowMs: number) {
    this.#windowMs = windowMs
  }

  /** @returns the number of moments in the window, including `atMs` */
  add(atMs: number): number {
    this.#moments.push(atMs)
    return this.count(atMs)
  }

  /** The number of moments in the window that ends at `atMs`. */
  count(atMs: number): number {
    while (this.#start < this.#moments.length && (this.#moments[this.#start] as number) <= atMs - this.#windowMs) {
      this.#start++
    }
    // Compacted rarely, so that each moment costs amortized constant time.
    if (this.#start > 10_000) {
      this.#moments = this.#moments.slice(this.#start)
      this.#start = 0
    }
    return this.#moments.length - this.#start
  }

  /** Milliseconds until the oldest moment leaves the window. */
  msUntilFree(atMs: number): number {
    return (this.#moments[this.#start] as number) + this.#windowMs - atMs
  }
}
