/** A memory budget that the incomplete bodies of all connections share. */

/** A body that is being received. */
export interface HeldBody {
  bytes: number
  /** Whether it may evict the oldest bodies if the budget is used up; a large body is refused instead. */
  isSmall: boolean
  refuse(): void
}

export interface BodyBudget {
  readonly usedBytes: number
  /** Reserves this many bytes for the body. Returns false if the budget is used up. */
  resize(body: HeldBody, bytes: number): boolean
  release(body: HeldBody): void
}

/**
 * Beyond the budget, large bodies are refused. Small ones, like nearly all webhooks, evict the oldest bodies, so that a client
 * that stalls large bodies cannot block webhooks.
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
