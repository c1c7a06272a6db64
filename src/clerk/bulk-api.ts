/**
 * Clerk's Backend API for work on all users: within its rate limit, with patience for its faults. The SDK knows neither
 * cursors nor AbortSignals, hence plain fetch. Source: https://clerk.com/docs/reference/backend-api.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { parseJson } from '../domain/clean.ts'
import type { UserSnapshot } from '../resources/user/change.ts'
import { readApiUser } from './api-user.ts'
import { createRequestLimit } from './request-limit.ts'

export interface BulkApiOptions {
  secretKey: string
  /** https://api.clerk.com unless told. */
  apiUrl?: string
  /** How long an answer may take. */
  deadlineMs?: number
  /** How often a request is tried; each pause is longer than the one before, half a minute at most. */
  maxAttempts?: number
  firstPauseMs?: number
  /** Ends every wait and every request. */
  signal?: AbortSignal
  /** Hears of each request that will be tried again. */
  onRetry?: (reason: string, waitMs: number) => void
}

/** Users of one answer. Those that cannot be used are named, so that nobody is lost without a word. */
export interface UserPage {
  users: UserSnapshot[]
  unusable: { id: string; reason: string }[]
  /** The ids as they came, usable or not. */
  ids: string[]
}

export type BulkApi = ReturnType<typeof createBulkApi>

/** Clerk's refusal of a request, which would be the same again. */
export class ClerkRefusal extends Error {
  override name = 'ClerkRefusal'
  readonly status: number

  constructor(status: number, what: string) {
    super(`Clerk's Backend API answered ${status} to ${what}${REMEDIES[status] ?? ''}`)
    this.status = status
  }
}
const REMEDIES: Record<number, string> = {
  401: ': CLERK_SECRET_KEY is not valid (Clerk dashboard, API keys), or CLERK_API_URL is wrong',
  403: ': CLERK_SECRET_KEY may not do this',
}

/** Clerk could not be reached, or gave no answer of use, however often it was asked. */
export class ClerkUnavailable extends Error {
  override name = 'ClerkUnavailable'
}

/** The most users of a page, and the most ids in a question (`GetUserList`). */
export const PAGE_SIZE = 500
export const MAX_IDS = 100

const WINDOW_MS = 10_000
const LONGEST_PAUSE_MS = 30_000
const DEFAULT_RETRY_AFTER_MS = 1_000

/** Clerk's limit for this key in 10 s, less a fifth that is left to the service's own calls. */
const requestsInWindow = (secretKey: string) => (secretKey.startsWith('sk_live_') ? 800 : 80)

interface Answer {
  status: number
  body: unknown
}

/** The client of one Clerk instance. Every method rejects with `ClerkRefusal`, `ClerkUnavailable` or the signal's reason. */
export function createBulkApi(options: BulkApiOptions) {
  const { secretKey, apiUrl = 'https://api.clerk.com', deadlineMs = 30_000, signal, onRetry } = options
  const { maxAttempts = 10, firstPauseMs = 250 } = options
  const limit = createRequestLimit({ requests: requestsInWindow(secretKey), windowMs: WINDOW_MS })
  const counts = { requests: 0, rateLimited: 0, retries: 0 }

  /** One attempt: an answer, or why and (where Clerk said so) when to try again. */
  async function ask(path: string): Promise<Answer | { retry: string; waitMs?: number }> {
    counts.requests += 1
    const deadline = AbortSignal.timeout(deadlineMs)
    try {
      const response = await fetch(new URL(path, apiUrl), {
        headers: { authorization: `Bearer ${secretKey}`, accept: 'application/json' },
        signal: signal ? AbortSignal.any([signal, deadline]) : deadline,
        redirect: 'error',
      })
      const text = await response.text()
      const { status } = response
      if (status === 429) {
        counts.rateLimited += 1
        const waitMs = retryAfterMs(response.headers.get('retry-after'))
        limit.pause(waitMs)
        return { retry: 'status 429', waitMs }
      }
      if (status >= 500 || status === 408) return { retry: `status ${status}` }
      return { status, body: status === 200 ? parseJson(text) : undefined }
    } catch (error) {
      signal?.throwIfAborted()
      if (deadline.aborted) return { retry: `no answer in ${deadlineMs} ms` }
      return { retry: error instanceof SyntaxError ? 'an answer that is no JSON' : 'no connection' }
    }
  }

  /** Asks until there is an answer; whether that is of use is up to `isUsable`. */
  async function get(path: string, isUsable: (answer: Answer) => boolean): Promise<Answer> {
    for (let attempt = 1; ; attempt += 1) {
      const answer = await limit.run(() => ask(path), signal)
      if (!('retry' in answer) && (answer.status !== 200 || isUsable(answer))) return answer
      const reason = 'retry' in answer ? answer.retry : 'an unexpected body'
      if (attempt === maxAttempts) throw new ClerkUnavailable(`Clerk's Backend API: ${reason}, ${attempt} times`)
      // What Clerk said to wait is waited exactly, at the limit; every other pause grows, with some chance in it.
      const isTold = 'waitMs' in answer && answer.waitMs !== undefined
      const growing = Math.min(firstPauseMs * 2 ** (attempt - 1), LONGEST_PAUSE_MS) * (0.5 + Math.random() / 2)
      counts.retries += 1
      onRetry?.(reason, isTold ? (answer.waitMs as number) : growing)
      if (!isTold) await sleep(growing, undefined, { signal })
    }
  }

  async function getOk(path: string, isUsable: (answer: Answer) => boolean): Promise<unknown> {
    const { status, body } = await get(path, isUsable)
    if (status !== 200) throw new ClerkRefusal(status, `GET ${path.split('?', 1)[0]}`)
    return body
  }

  const isList = ({ body }: Answer) => Array.isArray(body)
  const list = async (query: string) => readPage((await getOk(`/v1/users?${query}`, isList)) as unknown[])

  return {
    counts,

    /** A page of all users in the order of their creation. Undefined when Clerk does not know the cursor (any more). */
    async listUsers(startingAfter: string | undefined): Promise<UserPage | undefined> {
      const cursor = startingAfter === undefined ? '' : `&starting_after=${encodeURIComponent(startingAfter)}`
      try {
        return await list(`order_by=created_at&limit=${PAGE_SIZE}${cursor}`)
      } catch (error) {
        const isCursor = error instanceof ClerkRefusal && [400, 404, 422].includes(error.status)
        if (isCursor && startingAfter !== undefined) return undefined
        throw error
      }
    },

    /** The users of these ids (100 at most) that Clerk knows now, in any order. */
    findUsers(ids: readonly string[]): Promise<UserPage> {
      return list(`limit=${MAX_IDS}&${ids.map((id) => `user_id=${encodeURIComponent(id)}`).join('&')}`)
    },

    /** The users that changed last, 100 at most. */
    findLatestUsers(): Promise<UserPage> {
      return list(`limit=${MAX_IDS}&order_by=-updated_at`)
    },

    /** The ids of the keys with which this instance signs tokens. */
    async findKeyIds(): Promise<string[]> {
      const keysOf = (body: unknown) => (body as { keys?: { kid?: unknown }[] } | null)?.keys
      const body = await getOk('/v1/jwks', (answer) => Array.isArray(keysOf(answer.body)))
      return (keysOf(body) as { kid?: unknown }[]).map(({ kid }) => String(kid))
    },

    /** Whether Clerk says, asked for this one user, that there is none (404). */
    async isAbsent(id: string): Promise<boolean> {
      const { status } = await get(`/v1/users/${encodeURIComponent(id)}`, () => true)
      if (status !== 200 && status !== 404) throw new ClerkRefusal(status, 'GET /v1/users/:id')
      return status === 404
    },

    async countUsers(): Promise<number> {
      const count = (answer: Answer) => (answer.body as { total_count?: unknown } | null)?.total_count
      const body = await getOk('/v1/users/count', (answer) => typeof count(answer) === 'number')
      return (body as { total_count: number }).total_count
    },
  }
}

function readPage(raw: unknown[]): UserPage {
  const page: UserPage = { users: [], unusable: [], ids: [] }
  for (const item of raw) {
    const id = String((item as { id?: unknown } | null)?.id)
    page.ids.push(id)
    const read = readApiUser(item, Date.now())
    if ('user' in read) page.users.push(read.user)
    else page.unusable.push({ id, reason: read.reason })
  }
  return page
}

/** Of a header in seconds or as a date (RFC 9110, section 10.2.3). */
function retryAfterMs(value: string | null): number {
  if (value === null) return DEFAULT_RETRY_AFTER_MS
  const ms = /^\d+$/.test(value.trim()) ? Number(value) * 1_000 : Date.parse(value) - Date.now()
  return ms > 0 ? ms : DEFAULT_RETRY_AFTER_MS
}
