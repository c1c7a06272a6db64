import { describe, MAX_WAIT_MS, sessionOf, waitMs } from './requests.ts'
import { SessionSyncError } from './session-sync-error.ts'
import type {
  FetchInit,
  FetchInput,
  FetchResponse,
  Seams,
  SessionSync,
  SessionSyncOptions,
  Signal,
  SignedOutReason,
  SyncResult,
} from './types.ts'

const SYNC = '/api/auth/sync-user'
const MAX_WAITS = 3
const MAX_REFUSALS = 5
const BREAK_MS = 30_000

interface ErrorBody {
  code?: string
  message?: string
  requestId?: string
}

/**
 * A client of the service that cannot loop. One call sends at most 6 requests of its own (the first, one with a fresh
 * token, one after a sync, three after waits), and the sync that it may share at most 5. It never redirects.
 * @param seams for tests alone
 */
export function createSessionSync(options: SessionSyncOptions, seams?: Partial<Seams>): SessionSync {
  const { baseUrl, getToken, onSignedOut } = options
  const { origin } = new URL(baseUrl)
  const send = options.fetch ?? ((input: FetchInput, init?: FetchInit) => globalThis.fetch(input as string, init))
  const { random, now, sleep }: Seams = {
    random: Math.random,
    now: Date.now,
    sleep: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
    ...seams,
  }
  const over = new Map<string, SignedOutReason>()
  let syncing: Promise<SyncResult> | undefined
  let refusals = 0
  let closedUntil = 0

  async function call(input: FetchInput, init: FetchInit = {}): Promise<FetchResponse> {
    const { url, headers, isRepeatable, isIdempotent } = describe(input, init, baseUrl)
    const target = typeof input === 'object' && 'url' in input ? input : url.href
    if (url.origin !== origin) return send(target as string, init)
    const isSync = url.pathname === new URL(SYNC, baseUrl).pathname
    const signal = init.signal ?? (target as { signal?: Signal }).signal
    let needsFresh = false
    let hasRefreshed = false
    let hasSynced = false
    let waits = 0
    for (;;) {
      if (now() < closedUntil) throw new SessionSyncError(0, 'LOOP_BROKEN', LOOP)
      const token = await orAbort(getToken(needsFresh ? { skipCache: true } : undefined), signal)
      if (!token) throw new SessionSyncError(0, 'SIGNED_OUT', 'Nobody is signed in')
      const session = sessionOf(token)
      const reason = over.get(session)
      if (reason) throw new SessionSyncError(reason === 'SESSION_REVOKED' ? 401 : 403, reason, 'This session is over')
      needsFresh = false
      headers.set('authorization', `Bearer ${token}`)

      let response: FetchResponse | undefined
      let trouble: unknown
      try {
        response = await send(target as string, { ...init, headers })
      } catch (error) {
        trouble = error
        if (signal?.aborted) throw error
      }
      const status = response?.status ?? 0
      const { code } = await orAbort(bodyOf(response), signal)
      if (status !== 401) refusals = 0
      if (isOver(code, status)) end(session, code)
      else if (isBadToken(code, status) && isRepeatable && !hasRefreshed) {
        hasRefreshed = needsFresh = true
        continue
      } else if (status === 401 && code === 'USER_NOT_SYNCED' && isRepeatable && !hasSynced && !isSync) {
        hasSynced = true
        await orAbort(syncUser(), signal)
        continue
      } else if (isTrouble(status) && isRepeatable && waits < MAX_WAITS) {
        // What may have been done already is sent again only if the server asks for it.
        const isInvited = isIdempotent || isSync || !!response?.headers.get('retry-after')
        const ms = waitMs(response, waits, now(), random())
        if (isInvited && ms <= MAX_WAIT_MS) {
          waits += 1
          await orAbort(sleep(ms), signal)
          continue
        }
      } else if (status === 401) refuse(code)
      if (!response) throw trouble
      return response
    }
  }

  function end(session: string, reason: SignedOutReason): void {
    if (over.has(session)) return
    over.set(session, reason)
    onSignedOut?.(reason)
  }

  // A 401 that is returned: no fresh token and no sync could mend it.
  function refuse(code: string | undefined): void {
    refusals += 1
    if (refusals < MAX_REFUSALS) return
    closedUntil = now() + BREAK_MS
    console.error(`clerk-session-sync: ${LOOP} The last answer was 401 ${code}.`)
  }

  function syncUser(): Promise<SyncResult> {
    syncing ??= read(SYNC, { method: 'POST' }).finally(() => {
      syncing = undefined
    }) as Promise<SyncResult>
    return syncing
  }

  async function read(path: string, init?: FetchInit): Promise<unknown> {
    const response = await call(path, init)
    if (response.ok) return response.json()
    const { code = 'UNKNOWN', message = `HTTP status ${response.status}`, requestId } = await bodyOf(response)
    throw new SessionSyncError(response.status, code, message, requestId)
  }

  return {
    syncUser,
    fetch: call,
    profile: async () => ((await read('/api/auth/profile')) as SyncResult).user,
  }
}

const LOOP =
  'The service refuses every token, fresh ones too, so nothing is sent for 30 s. Check CLERK_ISSUER, CLERK_AUTHORIZED_PARTIES and the clock of the service.'

const isBadToken = (code: string | undefined, status: number) =>
  status === 401 && (code === 'TOKEN_EXPIRED' || code === 'INVALID_TOKEN')
// 0 is a request without an answer; 502 and 504 come from a proxy.
const isTrouble = (status: number) => [0, 429, 502, 503, 504].includes(status)
const isOver = (code: string | undefined, status: number): code is SignedOutReason =>
  (status === 401 && code === 'SESSION_REVOKED') ||
  (status === 403 && (code === 'USER_DELETED' || code === 'USER_BANNED'))

/** The body of an error, of a copy: the caller may read the answer too. */
async function bodyOf(response: FetchResponse | undefined): Promise<ErrorBody> {
  if (!response || response.ok) return {}
  try {
    return Object(await response.clone().json())
  } catch {
    return {}
  }
}

/** What is asked for, or the reason of the abort, whichever comes first. */
async function orAbort<T>(work: T | Promise<T>, signal: Signal | null | undefined): Promise<T> {
  if (!signal) return work
  return new Promise<T>((resolve, reject) => {
    const abort = () => reject(signal.reason ?? new SessionSyncError(0, 'ABORTED', 'Aborted'))
    if (signal.aborted) abort()
    signal.addEventListener('abort', abort)
    Promise.resolve(work)
      .then(resolve, reject)
      .finally(() => signal.removeEventListener('abort', abort))
  })
}
