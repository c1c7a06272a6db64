/** One user from Clerk's Backend API while a request waits: a better answer where it can be had in time, never a failure. */
import type { UserSnapshot } from '../resources/user/change.ts'
import { type ClerkRefusal, ClerkUnavailable } from './api-errors.ts'
import { type BackendApiOptions, createBackendApi } from './backend-api.ts'

export interface UserLookupOptions
  extends Pick<BackendApiOptions, 'secretKey' | 'apiUrl' | 'deadlineMs' | 'onAnswer' | 'dispatcher'> {
  /** Lookups under way at most, 50 by default: when the API hangs, further requests do not wait for it. */
  maxConcurrent?: number
}

export type LookupAnswer =
  | { state: 'found'; user: UserSnapshot }
  /** Clerk answered 404. */
  | { state: 'absent' }
  /** No answer that says anything of the user; `status` where there was one. */
  | { state: 'unavailable'; reason: string; status?: number }

/** The user as Clerk knows it now. Never rejects. Callers that ask for one user at the same time share a call. */
export type UserLookup = (id: string) => Promise<LookupAnswer>

/** One attempt each, 3 s by default. A `Retry-After` stops all lookups until it has passed. */
export function createUserLookup({
  maxConcurrent = 50,
  deadlineMs = 3_000,
  ...options
}: UserLookupOptions): UserLookup {
  const limits = { maxAttempts: 1, mayWait: false, requestsInWindow: Number.POSITIVE_INFINITY }
  const api = createBackendApi({ ...options, ...limits, deadlineMs })
  const underWay = new Map<string, Promise<LookupAnswer>>()

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

  return (id) => {
    const shared = underWay.get(id)
    if (shared) return shared
    if (underWay.size >= maxConcurrent) {
      return Promise.resolve({ state: 'unavailable', reason: 'too many calls under way' })
    }
    const answer = ask(id).finally(() => underWay.delete(id))
    underWay.set(id, answer)
    return answer
  }
}
