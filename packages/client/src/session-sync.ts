import { errorOf, isOver, isRefusedToken, isStale, refusalOf } from './answers.ts'
import { begin } from './deadline.ts'
import { describe, MAX_WAIT_MS, type Sending, waitMs } from './requests.ts'
import { SessionSyncError } from './session-sync-error.ts'
import { MAX_SESSIONS, type SessionState } from './sessions.ts'
import { identityOf } from './tokens.ts'
import type {
  Fetch,
  FetchInit,
  FetchInput,
  FetchResponse,
  Seams,
  SessionSync,
  SessionSyncOptions,
  Signal,
  SignedOut,
  SignedOutReason,
  SyncResult,
} from './types.ts'

const MAX_WAITS = 3
const MAX_REFUSALS = 5
const BREAK_MS = 30_000
/** Calls that need a fresh token within this time share one. */
const FRESH_MS = 5_000
const MAX_POLLS = 10
const POLL_MS = 300
/** 0 is a request without an answer; 502 and 504 come from a proxy. */
const TROUBLE = /^(0|429|50[234])$/
/** The guide says what to check. */
const LOOP = 'LOOP_BROKEN'

type MaybeSignal = Signal | null | undefined

/**
 * A client of the service that cannot loop, and in which a call acts for one session only. One call sends at most 6 requests
 * of its own (the first, one with a fresh token, one after a sync, three after waits), and the sync that it may share at
 * most 5. It never redirects.
 * @param seams for tests alone
 */
export function createSessionSync(options: SessionSyncOptions, seams: Seams = globalThis as Seams): SessionSync {
  const { baseUrl, getToken, onSignedOut, timeoutMs = 10_000 } = options
  const send: Fetch = (input, init) => (options.fetch ?? fetch)(input, init)
  const states = new Map<string, SessionState>()
  const over = new Map<string, [status: number, reason: SignedOutReason]>()
  let lastKey: string | undefined

  async function bounded<T>(work: T | Promise<T>, signal: MaybeSignal, ms?: number): Promise<T> {
    const [, race, end] = begin(seams, signal, ms)
    try {
      return await race(work)
    } finally {
      end()
    }
  }

  const sleep = (ms: number, signal: MaybeSignal) =>
    bounded(new Promise<void>((resolve) => seams.setTimeout(resolve, ms)), signal)

  /** One fresh token for all who need one at about the same time. One that is missing, or another's, is asked for again. */
  function refresh(state: SessionState): SessionState['fresh'] {
    if (seams.Date.now() >= state.freshUntil) {
      state.freshUntil = seams.Date.now() + FRESH_MS
      const forget = () => {
        state.freshUntil = 0
      }
      state.fresh = Promise.resolve(getToken({ skipCache: true }))
      state.fresh.then((token) => identityOf(`${token}`).key === state.key || forget(), forget)
    }
    return state.fresh
  }

  /**
   * Finds who is signed in, or a new token of the session given. Without a token Clerk may be loading, so that nobody is
   * signed out before a while.
   * @param stale the session whose token was refused, and which needs a fresh one
   */
  async function identify(signal: MaybeSignal, begun?: SessionState, stale?: SessionState): Promise<SessionState> {
    let wanted = begun?.key
    for (let polls = 0; polls <= MAX_POLLS; polls += 1) {
      if (polls) await sleep(POLL_MS, signal)
      const token = await bounded(stale ? refresh(stale) : getToken(), signal, timeoutMs)
      if (token) {
        const identity = identityOf(token)
        lastKey = identity.key
        if (wanted && wanted !== lastKey) throw new SessionSyncError(0, 'SESSION_CHANGED')
        if (states.size >= MAX_SESSIONS) {
          states.clear()
          over.clear()
        }
        const state = begun ?? states.get(lastKey) ?? { ...identity, refusals: 0, closedUntil: 0, freshUntil: 0 }
        states.set(lastKey, state)
        state.token = token
        return state
      }
      // Whoever signs in while a call waits did not begin it.
      wanted ??= lastKey
    }
    throw new SessionSyncError(0, seams.navigator?.onLine === false ? 'OFFLINE' : 'SIGNED_OUT')
  }

  /** Sends a request for one session until there is an answer to pass on. */
  async function exchange(request: Sending, state: SessionState, isSync = false): Promise<FetchResponse> {
    const [attempt, , isRepeatable, isIdempotent, signal] = request
    const { session } = state
    let canRefresh = isRepeatable
    let canSync = isRepeatable && !isSync
    let waits = isRepeatable ? 0 : MAX_WAITS
    for (;;) {
      const end = over.get(session)
      if (end) throw new SessionSyncError(...end)
      if (seams.Date.now() < state.closedUntil) throw new SessionSyncError(0, LOOP)

      const [attemptSignal, race, finish] = begin(seams, signal, timeoutMs)
      let response: FetchResponse | undefined
      let code: string | undefined
      let trouble: unknown
      try {
        response = await race(send(...attempt(state.token, attemptSignal)))
        code = await race(refusalOf(response))
      } catch (error) {
        if (signal?.aborted) throw error
        trouble = error
      }
      finish(true)
      if (response && !isRefusedToken(code)) state.refusals = 0
      const retryAfter = response?.headers.get('retry-after')
      const ms = waitMs(retryAfter, waits, seams)
      const needsFresh = canRefresh && isStale(code)
      if (needsFresh) {
        canRefresh = false
      } else if (canSync && code === 'USER_NOT_SYNCED') {
        canSync = false
        await bounded(sync(state), signal)
      } else if (
        TROUBLE.test(`${response?.status ?? 0}`) &&
        // What may have been done already is sent again only if the server asks for it.
        (retryAfter || isIdempotent || isSync) &&
        waits < MAX_WAITS &&
        ms <= MAX_WAIT_MS
      ) {
        waits += 1
        await sleep(ms, signal)
      } else {
        if (response && isOver(code) && !over.has(session)) {
          over.set(session, [response.status, code])
          // The answer is the caller's, whatever the handler does.
          const signedOut: SignedOut = { reason: code, sessionId: state.sid, userId: state.sub }
          Promise.resolve(signedOut).then(onSignedOut).catch(console.error)
        }
        // A 401 that neither a fresh token nor a sync could fix.
        if (isRefusedToken(code) && (isRepeatable || !isStale(code))) {
          state.refusals += 1
          if (state.refusals >= MAX_REFUSALS) {
            state.closedUntil = seams.Date.now() + BREAK_MS
            console.error(LOOP)
          }
        }
        if (!response) throw trouble
        return response
      }
      finish()
      await identify(signal, state, needsFresh ? state : undefined)
    }
  }

  function sync(state: SessionState): Promise<SyncResult> {
    state.syncing ??= exchange(describe('/api/auth/sync-user', { method: 'POST' }, baseUrl), state, true)
      .then(read<SyncResult>)
      .finally(() => {
        state.syncing = undefined
      })
    return state.syncing
  }

  async function read<T>(response: FetchResponse, signal?: MaybeSignal): Promise<T> {
    if (response.ok) return bounded(response.json() as Promise<T>, signal, timeoutMs)
    throw await bounded(errorOf(response), signal, timeoutMs)
  }

  async function call(input: FetchInput, init: FetchInit = {}): Promise<FetchResponse> {
    const request = describe(input, init, baseUrl)
    const [, isOurs, , , signal] = request
    return isOurs ? exchange(request, await identify(signal)) : send(input as string, init)
  }

  return {
    fetch: call,
    syncUser: async ({ signal } = {}) => bounded(sync(await identify(signal)), signal),
    profile: async ({ signal } = {}) =>
      (await read<SyncResult>(await call('/api/auth/profile', { signal }), signal)).user,
  }
}
