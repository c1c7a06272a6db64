/** The results of token checks over time, on this replica since its start. They are in memory only. */

/** Counts by code, `OK` among them. */
export type AuthCounts = Record<string, number>

const MINUTE_MS = 60_000
const KEPT_MS = 24 * 60 * MINUTE_MS

/** Turns growing totals into the increase of each minute of the last day. */
export function createAuthResults() {
  const minutes = new Map<number, AuthCounts>()
  let before: AuthCounts = {}

  /** Records the current totals. */
  function record(totals: AuthCounts, nowMs: number): void {
    const minute = nowMs - (nowMs % MINUTE_MS)
    const counts = minutes.get(minute) ?? {}
    for (const [code, total] of Object.entries(totals)) {
      const added = total - (before[code] ?? 0)
      if (added > 0) counts[code] = (counts[code] ?? 0) + added
    }
    before = totals
    minutes.set(minute, counts)
    for (const old of minutes.keys()) if (old <= minute - KEPT_MS) minutes.delete(old)
  }

  /** The increase within `stepMs` after each of these times. */
  function since(starts: readonly number[], stepMs: number): AuthCounts[] {
    const sums = new Map(starts.map((start) => [start, {} as AuthCounts]))
    for (const [minute, counts] of minutes) {
      const sum = sums.get(minute - (minute % stepMs)) ?? {}
      for (const [code, count] of Object.entries(counts)) sum[code] = (sum[code] ?? 0) + count
    }
    return [...sums.values()]
  }

  return { record, since }
}
