/** Users from Clerk's Backend API: a better answer where it can be had in time, never a reason to fail. */
import { createClerkClient } from '@clerk/backend'
import { isClerkAPIResponseError } from '@clerk/backend/errors'
import { parseJson } from '../domain/clean.ts'
import type { UserSnapshot } from '../resources/user/change.ts'
import { readApiUser } from './api-user.ts'

export interface BackendApiOptions {
  secretKey: string
  /** https://api.clerk.com unless told. */
  apiUrl?: string
  /** How long an answer may take. */
  deadlineMs?: number
  /** Calls under way at most, those that were given up included: a hanging API must not pile up sockets. */
  maxConcurrent?: number
  /** Told of each call once: the HTTP status that was answered, 0 where none came in time. */
  onAnswer?: (status: number) => void
}

/** `absent`: Clerk answered 404. `unavailable`: no answer that says anything of the user. */
export type ApiAnswer =
  | { state: 'found'; user: UserSnapshot }
  | { state: 'absent' }
  | { state: 'unavailable'; reason: string; status?: number }

export interface BackendApi {
  /** The user as Clerk knows it now. Never rejects. Callers that ask for one user at the same time share a call. */
  findUser(id: string): Promise<ApiAnswer>
}

const DEFAULT_PAUSE_SECONDS = 1

/** The client of one Clerk instance. A 429 stops all calls until its `Retry-After` is over. */
export function createBackendApi(options: BackendApiOptions): BackendApi {
  const { secretKey, apiUrl, deadlineMs = 3_000, maxConcurrent = 50, onAnswer = () => undefined } = options
  const client = createClerkClient({ secretKey, apiUrl, telemetry: { disabled: true } })
  const inFlight = new Map<string, Promise<ApiAnswer>>()
  let concurrent = 0
  let pausedUntil = 0

  async function ask(id: string): Promise<ApiAnswer> {
    try {
      const answer: { raw?: unknown } | string = await client.users.getUser(id)
      // The SDK leaves a body as text whose content type a proxy has made `application/json; charset=utf-8`.
      const raw = typeof answer === 'string' ? parseJson(answer) : answer.raw
      const read = readApiUser(raw, Date.now())
      if ('reason' in read) return { state: 'unavailable', reason: read.reason, status: 200 }
      if (read.user.id !== id) return { state: 'unavailable', reason: 'an unexpected body', status: 200 }
      return { state: 'found', user: read.user }
    } catch (error) {
      if (!isClerkAPIResponseError(error)) return { state: 'unavailable', reason: 'an unexpected error' }
      if (error.status === 404) return { state: 'absent' }
      if (error.status === 429 || error.retryAfter !== undefined) {
        pausedUntil = performance.now() + (error.retryAfter ?? DEFAULT_PAUSE_SECONDS) * 1_000
      }
      return {
        state: 'unavailable',
        reason: error.status ? `status ${error.status}` : 'no connection',
        status: error.status,
      }
    }
  }

  return {
    findUser(id) {
      const shared = inFlight.get(id)
      if (shared) return shared
      if (performance.now() < pausedUntil) {
        return Promise.resolve({ state: 'unavailable', reason: 'paused by Retry-After' })
      }
      if (concurrent >= maxConcurrent)
        return Promise.resolve({ state: 'unavailable', reason: 'too many calls under way' })
      concurrent += 1
      const asked = ask(id).finally(() => {
        concurrent -= 1
      })
      const answer = withDeadline(asked, deadlineMs).finally(() => inFlight.delete(id))
      answer.then((got) => onAnswer(statusOf(got)))
      inFlight.set(id, answer)
      return answer
    },
  }
}

const STATUS = { found: 200, absent: 404, unavailable: 0 }
const statusOf = (answer: ApiAnswer) => ('status' in answer && answer.status) || STATUS[answer.state]

// The SDK takes no AbortSignal: a call that is given up goes on until its socket ends, and counts until then.
async function withDeadline(answer: Promise<ApiAnswer>, deadlineMs: number): Promise<ApiAnswer> {
  const { promise, resolve } = Promise.withResolvers<ApiAnswer>()
  const timer = setTimeout(resolve, deadlineMs, { state: 'unavailable', reason: `no answer in ${deadlineMs} ms` })
  try {
    return await Promise.race([answer, promise])
  } finally {
    clearTimeout(timer)
  }
}
