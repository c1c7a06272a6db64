/** A server that answers what it was told to, whatever is asked, and the client in front of it. No time passes. */
import { createSessionSync, type SessionSyncOptions, type SignedOutReason } from '../../src/client/index.ts'

export const BASE = 'https://api.example.com'

export interface Answer {
  status: number
  code?: string
  retryAfter?: string
}
/** An answer, or no answer at all. */
export type Step = Answer | 'network'

export interface Sent {
  url: string
  method: string
  token: string | null
  body: unknown
}

export function tokenOf(sid: string, serial: number): string {
  return `x.${btoa(JSON.stringify({ sid, serial }))}.y`
}

export function hostile(steps: Iterable<Step>, options: Partial<SessionSyncOptions> = {}) {
  const script = steps[Symbol.iterator]()
  const sent: Sent[] = []
  const asked: boolean[] = []
  const reasons: SignedOutReason[] = []
  const waits: number[] = []
  const clock = { now: 0 }
  const fetch = (async (input: string | Request, init?: RequestInit) => {
    await undefined
    const isRequest = typeof input !== 'string'
    sent.push({
      url: isRequest ? input.url : input,
      method: init?.method ?? (isRequest ? input.method : 'GET'),
      token: new Headers(init?.headers).get('authorization'),
      body: init?.body,
    })
    const { value = { status: 200 }, done } = script.next() as IteratorResult<Step, undefined>
    if (value === 'network') throw new TypeError('fetch failed')
    const { status, code, retryAfter } = value
    const headers = { ...(retryAfter !== undefined && { 'retry-after': retryAfter }) }
    if (code === 'HTML') return new Response('<html>', { status, headers })
    const body = status < 300 ? { user: { id: 'user_1' }, created: done === true, source: 'database' } : { code }
    return Response.json(body, { status, headers })
  }) as typeof globalThis.fetch
  const api = createSessionSync(
    {
      baseUrl: BASE,
      getToken: (tokenOptions) => {
        asked.push(tokenOptions?.skipCache === true)
        return tokenOf('sess_1', asked.length)
      },
      onSignedOut: (reason) => reasons.push(reason),
      fetch,
      ...options,
    },
    {
      random: () => 0.5,
      now: () => clock.now,
      sleep: async (ms) => {
        waits.push(ms)
        clock.now += ms
      },
    },
  )
  return { api, sent, asked, reasons, waits, clock }
}
