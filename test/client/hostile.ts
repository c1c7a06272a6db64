/** A server that answers what it is told to, whatever is asked, and the client in front of it, on a clock of its own. */
import {
  createSessionSync,
  type Seams,
  type SessionSyncOptions,
  type SignedOut,
} from '../../packages/client/src/index.ts'

export const BASE = 'https://api.example.com'

/** Every kind of answer. */
export const CODES: [number, string][] = [
  [401, 'MISSING_TOKEN'],
  [401, 'INVALID_TOKEN'],
  [401, 'TOKEN_EXPIRED'],
  [401, 'SESSION_REVOKED'],
  [401, 'USER_NOT_SYNCED'],
  [403, 'USER_DELETED'],
  [403, 'USER_BANNED'],
  [403, 'USER_DEPROVISIONED'],
  [403, 'SESSION_PENDING'],
  [403, 'MEMBERSHIP_ENDED'],
  [403, 'FORBIDDEN'],
  [403, 'REVERIFICATION_REQUIRED'],
  [403, 'CROSS_SITE_REQUEST'],
  [401, 'APP'],
  [503, 'JWKS_UNAVAILABLE'],
  [503, 'DATABASE_UNAVAILABLE'],
  [503, 'SHUTTING_DOWN'],
  [429, 'RATE_LIMITED'],
  [500, 'INTERNAL_SERVER_ERROR'],
  [502, 'HTML'],
  [200, 'OK'],
]

export interface Answer {
  status: number
  /** Of the service, in its error shape; `HTML` is a page, `APP` an application's own error. */
  code?: string
  retryAfter?: string
}
/** An answer, no answer at all, or one that never comes. */
export type Step = Answer | 'network' | 'silence'

export interface Sent {
  url: string
  method: string
  token: string | null
  body: unknown
}

/** An unsigned token, which only the client reads. */
export function tokenOf(sid: string | undefined, serial: number, sub = 'user_1', org?: string): string {
  const claims = { sub, sid, serial, ...(org && { o: { id: org } }) }
  return `x.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.y`
}

export function claimsOf(authorization: string | null): { sub: string; sid?: string; o?: { id: string } } {
  return JSON.parse(Buffer.from(authorization?.split('.')[1] ?? 'bnVsbA', 'base64url').toString())
}

/** The error shape of the service. */
export const refusal = (status: number, code: string) => ({
  ...{ statusCode: status, code, error: '', message: code, requestId: 'req-1' },
})

/** What the server sends for one step; `silence` ends with the signal alone. */
export async function answer(step: Step, signal?: AbortSignal | null): Promise<Response> {
  if (step === 'network') throw new TypeError('fetch failed')
  if (step === 'silence')
    return new Promise((_, reject) => signal?.addEventListener('abort', () => reject(signal.reason)))
  const { status, code, retryAfter } = step
  const headers = { ...(retryAfter !== undefined && { 'retry-after': retryAfter }) }
  if (code === 'HTML') return new Response('<html>', { status, headers })
  if (code === 'APP') return Response.json({ error: 'wrong PIN' }, { status, headers })
  const body =
    status < 300 ? { user: { id: 'user_1' }, created: false, source: 'database' } : refusal(status, `${code}`)
  return Response.json(body, { status, headers })
}

/** A clock that goes on when nothing else does: it jumps to the next timer once all other work has come to rest. */
export function virtualClock() {
  const timers = new Map<number, { at: number; work: () => void }>()
  const clock = { now: 0, waits: [] as number[] }
  let serial = 0
  let isPumping = false
  async function pump(): Promise<void> {
    if (isPumping) return
    isPumping = true
    while (timers.size > 0) {
      // Bodies are read in a few turns of the event loop.
      for (let turn = 0; turn < 8; turn += 1) await new Promise(setImmediate)
      const [id, next] = [...timers].sort(([, a], [, b]) => a.at - b.at)[0] ?? []
      if (id === undefined || !next) break
      timers.delete(id)
      clock.now = Math.max(clock.now, next.at)
      next.work()
    }
    isPumping = false
  }
  const seams: Seams = {
    Math: { random: () => 0.5 },
    Date: { now: () => clock.now, parse: Date.parse },
    setTimeout(work, ms) {
      serial += 1
      timers.set(serial, { at: clock.now + ms, work })
      // Deadlines are no waits.
      if (ms !== DEADLINE_MS) clock.waits.push(ms)
      void pump()
      return serial
    },
    clearTimeout: (id) => void timers.delete(id),
  }
  return { clock, seams }
}

export const DEADLINE_MS = 10_000

export function hostile(steps: Iterable<Step>, options: Partial<SessionSyncOptions> = {}) {
  const script = steps[Symbol.iterator]()
  const sent: Sent[] = []
  const asked: boolean[] = []
  const over: SignedOut[] = []
  const { clock, seams } = virtualClock()
  const fetch = (async (input: string | Request, init?: RequestInit) => {
    await undefined
    const isRequest = typeof input !== 'string'
    sent.push({
      url: isRequest ? input.url : input,
      method: init?.method ?? (isRequest ? input.method : 'GET'),
      token: new Headers(init?.headers).get('authorization'),
      body: init?.body ?? (isRequest && input.body ? await input.text() : undefined),
    })
    const { value = { status: 200 } } = script.next() as IteratorResult<Step, undefined>
    return answer(value, init?.signal)
  }) as typeof globalThis.fetch
  const api = createSessionSync(
    {
      baseUrl: BASE,
      getToken: (tokenOptions) => {
        asked.push(tokenOptions?.skipCache === true)
        return tokenOf('sess_1', asked.length)
      },
      onSignedOut: (signedOut) => over.push(signedOut),
      fetch,
      ...options,
    },
    seams,
  )
  return { api, sent, asked, over, clock, waits: clock.waits }
}
