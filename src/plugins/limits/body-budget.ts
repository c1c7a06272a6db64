/** One budget for the bodies of all connections together, until each is whole. */

/** A body on its way. */
export interface HeldBody {
  bytes: number
  /** Whether it takes the place of the oldest bodies where there is no room; a large one is refused itself. */
  isSmall: boolean
  refuse(): void
}

export interface BodyBudget {
  readonly usedBytes: number
  /** Counts this body with so many bytes. False when there is no room. */
  resize(body: HeldBody, bytes: number): boolean
  release(body: HeldBody): void
}

/**
 * Beyond the budget large bodies are refused. Small ones, as nearly all webhooks are, replace the oldest bodies, so that
 * whoever stalls large ones cannot keep the webhooks out.
 */
export function createBodyBudget(totalBytes: number): BodyBudget {
  // Oldest first.
  const bodies = new Set<HeldBody>()
  let usedBytes = 0

  function release(body: HeldBody): void {
    if (bodies.delete(body)) usedBytes -= body.bytes
  }

  return {
    get usedBytes() {
      return usedBytes
    },
    release,
    resize(body, bytes) {
      const hasRoom = () => usedBytes - body.bytes + bytes <= totalBytes
      for (const oldest of body.isSmall ? bodies : []) {
        if (hasRoom()) break
        if (oldest === body) continue
        release(oldest)
        oldest.refuse()
      }
      if (!hasRoom()) return false
      usedBytes += bytes - body.bytes
      body.bytes = bytes
      bodies.add(body)
      return true
    },
  }
}
