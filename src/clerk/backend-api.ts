/**
 * The client of Clerk's Backend API, for requests (`user-lookup.ts`) and for jobs. It stays within the rate limit, and retries as
 * long as its caller allows. Source: https://github.com/clerk/openapi-specs, bapi/2026-05-12.yml.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { TypeCompiler } from '@sinclair/typebox/compiler'
import { isAhead } from '../domain/change.ts'
import { snapshotFromApi, type UserSnapshot } from '../resources/user/change.ts'
import { ClerkUser } from '../resources/user/payload.ts'
import { ClerkRefusal, ClerkUnavailable } from './api-errors.ts'
import { type Answer, createTransport, type Failure, type TransportOptions } from './api-transport.ts'
import { createRequestLimit, findPause } from './request-limit.ts'

export interface BackendApiOptions extends Omit<TransportOptions, 'deadlineMs'> {
  /** How long a whole answer may take; default 30 s. */
  deadlineMs?: number
  /** The number of attempts per request, 10 by default; the pauses between them grow to half a minute. */
  maxAttempts?: number
  firstPauseMs?: number
  /** The most requests per 10 s; default four fifths of Clerk's limit for this kind of key. */
  requestsInWindow?: number
  /** Called before each further attempt. */
  onRetry?: (reason: string, waitMs: number) => void
  /** Called for each attempt with the HTTP status, 0 without an answer. */
  onAnswer?: (status: number) => void
}

export type UserAnswer =
  | { state: 'found'; user: UserSnapshot }
  /** Clerk answered 404. */
  | { state: 'absent' }
  | { state: 'unusable'; reason: string }

/** The users of one answer. Unusable ones are listed separately, so that none is lost silently. */
export interface UserPage {
  users: UserSnapshot[]
  unusable: { id: string; reason: string }[]
  /** All ids in order, usable or not. */
  ids: string[]
  /** The creation time of each, in ms since 1970; undefined if Clerk sent none. */
  createdAt: (number | undefined)[]
}

/** Times are exclusive bounds, in milliseconds since 1970. */
export interface UserFilter {
  /** At most 100. */
  ids?: readonly string[]
  createdAfter?: number
  createdBefore?: number
}

export interface UserListQuery extends UserFilter {
  orderBy?: `${'' | '-'}${'created_at' | 'updated_at'}`
  /** The page size; 500 by default and at most. */
  limit?: number
  /** The id of the last user of the previous page. Requires an order by `created_at`, and no offset. */
  startingAfter?: string
  offset?: number
}

export interface ClerkInstance {
  id: string
  environmentType: string
}

export type BackendApi = ReturnType<typeof createBackendApi>

/** The most users of a page, and the most ids in a request (`GetUserList`). */
export const PAGE_SIZE = 500
export const MAX_IDS = 100

const WINDOW_MS = 10_000
const LONGEST_PAUSE_MS = 30_000
const DEFAULT_RETRY_AFTER_MS = 1_000

/** Clerk's limit per 10 s for this kind of key. Source: https://clerk.com/docs/guides/how-clerk-works/system-limits. */
export const requestsAllowed = (secretKey: string): number => (secretKey.startsWith('sk_live_') ? 1_000 : 100)
// A fifth is left for on-demand lookups and for the application's own calls.
const JOBS_SHARE = 0.8

const UNEXPECTED = 'an unexpected body'
const MAX_NAMES = 5

/** The client of one Clerk instance. Every method rejects with `ClerkRefusal`, `ClerkUnavailable` or the signal's reason. */
export function createBackendApi(options: BackendApiOptions) {
  const { secretKey, signal, onRetry, onAnswer, maxAttempts = 10, firstPauseMs = 250 } = options
  const { deadlineMs = 30_000, requestsInWindow = requestsAllowed(secretKey) * JOBS_SHARE } = options
  const transport = createTransport({ ...options, deadlineMs })
  const pause = findPause(`${options.apiUrl} ${secretKey}`)
  const limit = createRequestLimit({ requests: requestsInWindow, windowMs: WINDOW_MS, pause })
  const counts = { requests: 0, rateLimited: 0, retries: 0 }

  async function ask(path: string, isList: boolean): Promise<Answer | Failure> {
    counts.requests += 1
    const answer = await transport(path, { isCompressed: isList })
    onAnswer?.(answer.status ?? 0)
    if ('failure' in answer) return answer
    const { status } = answer
    if (status === 429) counts.rateLimited += 1
    const retryAfterMs = answer.retryAfterMs ?? (status === 429 ? DEFAULT_RETRY_AFTER_MS : undefined)
    if (status >= 400 && retryAfterMs !== undefined) limit.pause(retryAfterMs)
    return { ...answer, retryAfterMs }
  }

  /** Retries until there is a usable answer or a refusal, or the attempts are used up. */
  async function get(path: string, isUsable: (body: unknown) => boolean, isList = false): Promise<Answer> {
    for (let attempt = 1; ; attempt += 1) {
      const answer = await limit.run(() => ask(path, isList), signal)
      const reason = failureOf(answer, isUsable)
      if (reason === undefined) return answer as Answer
      // Not retried, because the answer would be the same: CLERK_API_URL is not Clerk's API, or the API has changed.
      if (reason === UNEXPECTED) throw new ClerkUnavailable(describeShape(path, answer), { status: 200 })
      if (attempt === maxAttempts) throw new ClerkUnavailable(reason, { attempts: attempt, status: answer.status })
      // The request limit enforces Clerk's `Retry-After` exactly; all other pauses grow, with jitter.
      const toldMs = 'retryAfterMs' in answer ? answer.retryAfterMs : undefined
      const growingMs = Math.min(firstPauseMs * 2 ** (attempt - 1), LONGEST_PAUSE_MS) * (0.5 + Math.random() / 2)
      counts.retries += 1
      onRetry?.(reason, toldMs ?? growingMs)
      if (toldMs === undefined) await sleep(growingMs, undefined, { signal })
    }
  }

  async function getOk(path: string, isUsable: (body: unknown) => boolean, isList = false): Promise<unknown> {
    const { status, body } = await get(path, isUsable, isList)
    if (status !== 200) throw new ClerkRefusal(status, `GET ${path.split('?', 1)[0]}`)
    return body
  }

  /** Undefined if this API does not have the path (404), like some replacements for Clerk's. */
  async function getIfKnown(path: string, isUsable: (body: unknown) => boolean): Promise<unknown> {
    try {
      return await getOk(path, isUsable)
    } catch (error) {
      if (error instanceof ClerkRefusal && error.status === 404) return undefined
      throw error
    }
  }

  /** A page of a list; Clerk answers some lists with an array, and others with `{data, total_count}`. */
  async function list(path: string, query: Query): Promise<{ items: unknown[]; total?: number }> {
    const itemsOf = (body: unknown) => (Array.isArray(body) ? body : field(body, 'data'))
    const body = await getOk(`${path}?${toQuery(query)}`, (body) => Array.isArray(itemsOf(body)), true)
    const total = field(body, 'total_count')
    return { items: itemsOf(body) as unknown[], ...(typeof total === 'number' && { total }) }
  }

  async function findUser(id: string): Promise<UserAnswer> {
    const askedAt = Date.now()
    const { status, body } = await get(`/v1/users/${encodeURIComponent(id)}`, () => true)
    if (status === 404) return { state: 'absent' }
    if (status !== 200) throw new ClerkRefusal(status, 'GET /v1/users/{id}')
    const read = readApiUser(body, askedAt)
    if ('reason' in read) return { state: 'unusable', reason: read.reason }
    return read.user.id === id ? { state: 'found', user: read.user } : { state: 'unusable', reason: UNEXPECTED }
  }

  return {
    counts,
    list,
    /** Why a request would have to wait now; undefined if it would be sent at once. */
    findReasonToWait(): 'retry-after' | 'budget' | undefined {
      if (limit.msToWait() === 0) return undefined
      return limit.isPaused() ? 'retry-after' : 'budget'
    },
    findUser,
    /** The object at this path; undefined if Clerk answers 404. */
    find: (path: string): Promise<unknown> => getIfKnown(path, (body) => typeof body === 'object' && body !== null),

    /** Whether a request for this user is answered 404. */
    async isAbsent(id: string): Promise<boolean> {
      return (await findUser(id)).state === 'absent'
    },

    /** A page of users. Refused with 400, 404 or 422 if Clerk does not know the user of `startingAfter` (any more). */
    async listUsers({
      startingAfter,
      offset,
      orderBy,
      limit = PAGE_SIZE,
      ...filter
    }: UserListQuery): Promise<UserPage> {
      const page = { limit, order_by: orderBy, starting_after: startingAfter, offset }
      const askedAt = Date.now()
      return readPage((await list('/v1/users', { ...page, ...toParameters(filter) })).items, askedAt)
    },

    async countUsers(filter: UserFilter = {}): Promise<number> {
      const isCount = (body: unknown) => typeof field(body, 'total_count') === 'number'
      const body = await getOk(`/v1/users/count?${toQuery(toParameters(filter))}`, isCount)
      return field(body, 'total_count') as number
    },

    /** The id and modulus of each key with which this instance signs tokens. Undefined if the API has no such path. */
    async findKeys(): Promise<{ kid: string; n: string | undefined }[] | undefined> {
      const body = await getIfKnown('/v1/jwks', (body) => Array.isArray(field(body, 'keys')))
      return (field(body, 'keys') as unknown[] | undefined)?.map((key) => ({
        kid: String(field(key, 'kid')),
        n: field(key, 'n') as string | undefined,
      }))
    },

    /** The instance that the secret key belongs to. Undefined if the API has no such path. */
    async findInstance(): Promise<ClerkInstance | undefined> {
      const body = await getIfKnown('/v1/instance', (body) => typeof field(body, 'id') === 'string')
      return body === undefined
        ? undefined
        : { id: field(body, 'id') as string, environmentType: String(field(body, 'environment_type')) }
    },
  }
}

function failureOf(answer: Answer | Failure, isUsable: (body: unknown) => boolean): string | undefined {
  if ('failure' in answer) return answer.failure
  const { status, body } = answer
  if (status === 429 || status === 408 || status >= 500) return `status ${status}`
  return status === 200 && !isUsable(body) ? UNEXPECTED : undefined
}

/** Describes an unexpected body by its property names only, because its values may be personal data. */
function describeShape(path: string, answer: Answer | Failure): string {
  const { body } = answer as Answer
  const names = JSON.stringify(Object.keys(body ?? {}).slice(0, MAX_NAMES))
  const what = body === null ? 'null' : typeof body === 'object' ? `an object with ${names}` : `a ${typeof body}`
  return `${UNEXPECTED} from GET ${path.split('?', 1)[0]} (${Array.isArray(body) ? 'an array' : what}): does CLERK_API_URL point to Clerk?`
}

const field = (body: unknown, name: string): unknown => (body as Record<string, unknown> | null | undefined)?.[name]

type Query = Record<string, string | number | readonly string[] | undefined>

const toParameters = ({ ids, createdAfter, createdBefore }: UserFilter): Query => ({
  user_id: ids,
  created_at_after: createdAfter,
  created_at_before: createdBefore,
})

function toQuery(query: Query): string {
  const search = new URLSearchParams()
  for (const [name, value] of Object.entries(query)) {
    for (const one of [value ?? []].flat()) search.append(name, String(one))
  }
  return search.toString()
}

function readPage(items: readonly unknown[], askedAt: number): UserPage {
  const page: UserPage = { users: [], unusable: [], ids: [], createdAt: [] }
  for (const item of items) {
    const id = String(field(item, 'id'))
    page.ids.push(id)
    const createdAt = field(item, 'created_at')
    page.createdAt.push(typeof createdAt === 'number' ? createdAt : undefined)
    const read = readApiUser(item, askedAt)
    if ('user' in read) page.users.push(read.user)
    else page.unusable.push({ id, reason: read.reason })
  }
  return page
}

const userCheck = TypeCompiler.Compile(ClerkUser)

/**
 * Reads a user from an answer of the Backend API, or says why it cannot be used, without quoting it.
 * @param askedAt the time of the request, in ms since 1970, to compare the answer with an inferred deletion
 */
function readApiUser(raw: unknown, askedAt: number): { user: UserSnapshot } | { reason: string } {
  if (!userCheck.Check(raw)) return { reason: 'an unexpected body' }
  const user = snapshotFromApi(raw, askedAt)
  return isAhead(user.version.updatedAt, askedAt) ? { reason: 'dated more than a day ahead' } : { user }
}
