/** Work that always ends: with its result, when its caller aborts it, or at a deadline. */
import { SessionSyncError } from './session-sync-error.ts'
import type { ClientCode, Seams, Signal } from './types.ts'

/** A tuple, as in requests.ts. */
export type Attempt = [
  /** For fetch: aborted with the caller's signal and by the deadline. */
  signal: Signal,
  /** The result, or the reason of the end, whichever comes first. */
  race: <T>(work: T | Promise<T>) => Promise<T>,
  /** Lifts the deadline, and gives up what is still under way; unless it is kept, and ends with the caller's signal alone. */
  end: (isKept?: boolean) => void,
]

/** @param ms no deadline where it is missing */
export function begin(clock: Seams, caller: Signal | null | undefined, ms?: number): Attempt {
  const controller = new AbortController()
  let fail: (reason: unknown) => void
  const failed = new Promise<never>((_, reject) => {
    fail = reject
  })
  // It may fail while nobody waits for it.
  failed.catch(() => {})
  const stop = (code: ClientCode) => {
    // React Native names no reason.
    const reason = caller?.reason ?? new SessionSyncError(0, code)
    fail(reason)
    controller.abort(reason)
  }
  const abort = () => stop('ABORTED')
  if (caller?.aborted) abort()
  caller?.addEventListener('abort', abort)
  const deadline = ms && clock.setTimeout(() => stop('TIMEOUT'), ms)
  return [
    controller.signal as Signal,
    (work) => Promise.race([failed, work]),
    (isKept) => {
      clock.clearTimeout(deadline as never)
      if (isKept) return
      caller?.removeEventListener('abort', abort)
      controller.abort()
    },
  ]
}
