/**
 * Looks up one user at Clerk's Backend API while a request waits. It improves the answer if Clerk replies in time, and never makes
 * the request fail. The application shares Clerk's limit, so lookups have a budget, and repeated ones are avoided.
 */
import type { UserSnapshot } from '../resources/user/change.ts'
import { type ClerkRefusal, ClerkUnavailable } from './api-errors.ts'
import { type BackendApiOptions, createBackendApi, requestsAllowed } from './backend-api.ts'

export interface UserLookupOptions
  extends Pick<BackendApiOptions, 'secretKey' | 'apiUrl' | 'deadlineMs' | 'onAnswer' | 'dispatcher'> {
  /** The most requests per 10 s; default a tenth of Clerk's limit for this kind of key. */
  budget?: number
  /** How long an answer about a user is reused; default 10 s. */
  askAgainAfterMs?: number
  /** The most concurrent lookups, 50 by default: if the API hangs, further requests do not wait for it. */
  maxConcurrent?: number
  /** How many users that Clerk did not know are remembered; default 10,000. */
  maxAbsent?: number
}

export type LookupAnswer =
  | { state: 'found'; user: UserSnapshot }
  /** Clerk answered 404. */
  | { state: 'absent' }
  /** No usable answer; `status` if there was an answer. */
  | { state: 'unavailable'; reason: string; status?: number }
  /** Clerk was not called: it asked to wait, the budget is used up, or too many calls are in flight. */
  | { state: 'not-asked'; reason: ReasonNotToAsk }

export const REASONS_NOT_TO_ASK = ['retry-after', 'budget', 'concurrency'] as const
export type ReasonNotToAsk = (typeof REASONS_NOT_TO_ASK)[number]

/**
 * The user from Clerk now (`isFresh`), or from an earlier answer. Never rejects. Concurrent lookups of one user share a call.
 */
export type UserLookup = (id: string) => Promise<{ answer: LookupAnswer; isFresh: boolean }>

/** The default budget: a tenth of Clerk's limit. */
const BUDGET_SHARE = 0.1
const ASK_AGAIN_AFTER_MS = 10_000
// Clerk never reuses ids, so a user that was absent once is refused without a call while it is remembered.
const MAX_ABSENT = 10_000

interface Asked {
  atMs: number
  answer: LookupAnswer | Promise<LookupAnswer>
}

/** One attempt each, 3 s by default. A `Retry-After` stops all lookups until it has passed. */
export function createUserLookup({
  budget,
  askAgainAfterMs = ASK_AGAIN_AFTER_MS,
  maxConcurrent = 50,
  maxAbsent = MAX_ABSENT,
  deadlineMs = 3_000,
  ...options
}: UserLookupOptions): UserLookup {
  const requestsInWindow = budget ?? requestsAllowed(options.secretKey) * BUDGET_SHARE
  const api = createBackendApi({ ...options, maxAttempts: 1, requestsInWindow, deadlineMs })
  /** The users looked up within `askAgainAfterMs`, oldest first; the budget bounds their number. */
  const recent = new Map<string, Asked>()
  const absent = new Set<string>()
  let underWay = 0

  async function ask(id: string): Promise<LookupAnswer> {
    try {
      const answer = await api.findUser(id)
      return answer.state === 'unusable' ? { state: 'unavailable', reason: answer.reason, status: 200 } : answer
    } catch (error) {
      const { status } = error as ClerkRefusal | ClerkUnavailable
      const reason = error instanceof ClerkUnavailable ? error.reason : `status ${status}`
      return { state: 'unavailable', reason, ...(status !== undefined && { status }) }
    }
  }

  async function count<T>(call: Promise<T>): Promise<T> {
    underWay += 1
    return call.finally(() => {
      underWay -= 1
    })
  }

  function forgetOld(now: number): void {
    for (const [id, { atMs, answer }] of recent) {
      if (now - atMs < askAgainAfterMs || answer instanceof Promise) break
      recent.delete(id)
    }
  }

  function rememberAbsence(id: string, { state }: LookupAnswer): void {
    if (state === 'found') absent.delete(id)
    if (state !== 'absent') return
    absent.add(id)
    for (const oldest of absent) {
      if (absent.size <= maxAbsent) break
      absent.delete(oldest)
    }
  }

  return async (id) => {
    const now = performance.now()
    forgetOld(now)
    const asked = recent.get(id)
    if (asked) {
      const isFresh = asked.answer instanceof Promise
      return { answer: await asked.answer, isFresh }
    }
    const reason = underWay >= maxConcurrent ? 'concurrency' : api.findReasonToWait()
    if (reason !== undefined) {
      return { answer: absent.has(id) ? { state: 'absent' } : { state: 'not-asked', reason }, isFresh: false }
    }
    const own: Asked = { atMs: now, answer: count(ask(id)) }
    recent.set(id, own)
    own.answer = await own.answer
    rememberAbsence(id, own.answer)
    return { answer: own.answer, isFresh: true }
  }
}
