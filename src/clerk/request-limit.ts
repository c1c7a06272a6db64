/** Limits requests in a sliding window, and stops them while Clerk asked to wait. */
import { setTimeout as sleep } from 'node:timers/promises'

export interface RequestLimitOptions {
  /** The most requests in any window. */
  requests: number
  windowMs: number
  /** A pause that is shared with other clients; by default a separate one. */
  pause?: Pause
}

/** The time until which Clerk asked to wait, by `performance.now()`. */
export interface Pause {
  untilMs: number
}

const pauses = new Map<string, Pause>()

/** The pause shared by all clients of this process that Clerk counts together. */
export function findPause(client: string): Pause {
  const pause = pauses.get(client) ?? { untilMs: 0 }
  pauses.set(client, pause)
  return pause
}

export type RequestLimit = ReturnType<typeof createRequestLimit>

// Node.js timers overflow beyond this and fire at once.
const LONGEST_TIMER_MS = 2 ** 31 - 1

/**
 * A request takes a slot from before it is sent until one window after its answer, so that Clerk never counts more than `requests`
 * in a window, no matter when each request arrived.
 */
export function createRequestLimit({ requests, windowMs, pause = { untilMs: 0 } }: RequestLimitOptions) {
  /** When the slots of answered requests become free, in order. */
  const freeAt: number[] = []
  let underWay = 0

  /** How long a request would have to wait now. */
  function msToWait(now = performance.now()): number {
    while (freeAt.length > 0 && (freeAt[0] as number) <= now) freeAt.shift()
    if (now < pause.untilMs) return pause.untilMs - now
    if (underWay + freeAt.length < requests) return 0
    // If all slots belong to unanswered requests, one will have been answered after a window.
    return (freeAt[0] ?? now + windowMs) - now
  }

  return {
    msToWait,
    isPaused: () => performance.now() < pause.untilMs,

    /** Starts no request for this long. */
    pause(ms: number): void {
      pause.untilMs = Math.max(pause.untilMs, performance.now() + ms)
    },

    /** Runs a request as soon as a slot is free. Rejects with the signal's reason if it aborts before. */
    async run<T>(request: () => Promise<T>, signal?: AbortSignal): Promise<T> {
      for (let waitMs = msToWait(); waitMs > 0; waitMs = msToWait()) {
        await sleep(Math.min(Math.ceil(waitMs), LONGEST_TIMER_MS), undefined, { signal })
      }
      signal?.throwIfAborted()
      underWay += 1
      try {
        return await request()
      } finally {
        underWay -= 1
        // Two more, because clocks with millisecond precision may be off by one.
        freeAt.push(performance.now() + windowMs + 2)
      }
    },
  }
}
