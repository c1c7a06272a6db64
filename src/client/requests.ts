/** What may be sent twice, and how long to wait before. */
import type { FetchInit, FetchInput, FetchResponse } from './types.ts'

export const MAX_WAIT_MS = 30_000
const BASE_WAIT_MS = 500

export interface Sending {
  url: URL
  headers: Headers
  /** Whether the same request can be sent once more: a body that is a stream is gone after the first time. */
  isRepeatable: boolean
  /** RFC 9110, section 9.2.2: may be sent again even though the first may have arrived. */
  isIdempotent: boolean
}

export function describe(input: FetchInput, init: FetchInit, baseUrl: string): Sending {
  // A Request, of whichever realm or polyfill.
  const request = typeof input === 'object' && 'url' in input ? input : undefined
  const method = (init.method ?? request?.method ?? 'GET').toUpperCase()
  const body = init.body as { getReader?: unknown; next?: unknown; [Symbol.asyncIterator]?: unknown } | null | undefined
  const isStream = body != null && !!(body.getReader || body.next || body[Symbol.asyncIterator])
  const isIdempotent = method !== 'POST' && method !== 'PATCH'
  return {
    url: new URL(request?.url ?? String(input), baseUrl),
    headers: new Headers(init.headers ?? request?.headers),
    isIdempotent,
    // Not every browser says whether a Request has a body.
    isRepeatable: !isStream && (!request || init.body != null || method === 'GET' || method === 'HEAD'),
  }
}

/** Never earlier than Retry-After says; without it 0.5 s, 1 s, 2 s. The random part keeps clients from coming back at once. */
export function waitMs(response: FetchResponse | undefined, retries: number, now: number, random: number): number {
  const header = response?.headers.get('retry-after')
  const asked = header ? (Number.isNaN(+header) ? Date.parse(header) - now : +header * 1000) : Number.NaN
  return asked >= 0 ? asked + random * 250 : BASE_WAIT_MS * 2 ** retries * (0.5 + random)
}

/** The session that a token names. It is only compared, never trusted; a token that cannot be read has none. */
export function sessionOf(token: string): string {
  try {
    return String(JSON.parse(atob((token.split('.')[1] as string).replace(/-/g, '+').replace(/_/g, '/'))).sid)
  } catch {
    return ''
  }
}
