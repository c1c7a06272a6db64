/** So many requests in a window that slides. Clerk: 1,000 in 10 s, for a development instance 100. */
export interface RateLimit {
  requests: number
  windowMs: number
}

/** Moments that lie within the last `windowMs`. */
export class SlidingWindow {
  readonly #windowMs: number
  #moments: number[] = []
  #start = 0

  constructor(windowMs: number) {
    this.#windowMs = windowMs
  }

  /** @returns how many moments the window holds, `atMs` included */
  add(atMs: number): number {
    this.#moments.push(atMs)
    return this.count(atMs)
  }

  /** How many moments the window that ends at `atMs` holds. */
  count(atMs: number): number {
    while (this.#start < this.#moments.length && (this.#moments[this.#start] as number) <= atMs - this.#windowMs) {
      this.#start++
    }
    // Cut seldom, so that each moment costs constant time.
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
