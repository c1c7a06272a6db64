/** What happened to the requests, and what should not have. */

/** `refused`: 503 with Retry-After. `unanswered`: the connection was refused or broke, or the time was up. */
export type Result = 'ok' | 'refused' | 'unanswered' | 'wrong'

export interface Count extends Record<Result, number> {
  longestMs: number
}

export interface Tally {
  /** By kind of request. */
  requests: Map<string, Count>
  /** What must not be, each once, with how often. */
  violations: Map<string, number>
  add(kind: string, result: Result, durationMs: number): void
  violate(what: string): void
}

export function createTally(): Tally {
  const requests = new Map<string, Count>()
  const violations = new Map<string, number>()
  return {
    requests,
    violations,
    add(kind, result, durationMs) {
      const count = requests.get(kind) ?? { ok: 0, refused: 0, unanswered: 0, wrong: 0, longestMs: 0 }
      count[result] += 1
      count.longestMs = Math.max(count.longestMs, durationMs)
      requests.set(kind, count)
    },
    violate(what) {
      violations.set(what, (violations.get(what) ?? 0) + 1)
    },
  }
}
