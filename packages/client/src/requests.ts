/** Where a request goes, whether it may be sent again, and how long to wait before that. */
import type { FetchInit, FetchInput, Seams, Signal } from './types.ts'

export const MAX_WAIT_MS = 30_000
const BASE_WAIT_MS = 500

/** What a client must know of a request. A tuple, since names of properties are a tenth of the client's size. */
export type Sending = [
  /** Given to fetch for one attempt. */
  attempt: (token: string | undefined, signal: Signal) => [string, FetchInit],
  /** Whether it goes to the origin of `baseUrl`. */
  isOurs: boolean,
  /** Whether the same request can be sent once more: a body that is a stream is gone after the first time. */
  isRepeatable: boolean,
  /** RFC 9110, section 9.2.2: may be sent again even though the first may have arrived. */
  isIdempotent: boolean,
  signal: Signal | null | undefined,
]

export function describe(input: FetchInput, init: FetchInit, baseUrl: string): Sending {
  const base = normal(baseUrl)
  // A Request, of whichever realm or polyfill.
  const request = (input as Request).url ? (input as Request) : undefined
  const asked = request?.url ?? String(input)
  const url = normal(/^(\w+:|\/\/)/.test(asked) ? asked : join(base, asked))
  const body = init.body as { getReader?: unknown; [Symbol.asyncIterator]?: unknown } | null | undefined
  // Null is no body; not every browser says more.
  const isUsedUp = request && !body && request.body !== null
  const canClone = isUsedUp && !request.bodyUsed
  return [
    (token, signal) => {
      const headers = new Headers(init.headers ?? request?.headers)
      headers.set('authorization', `Bearer ${token}`)
      return [(canClone ? request.clone() : (request ?? url)) as string, { ...init, headers, signal }]
    },
    originOf(url) === originOf(base),
    isUsedUp ? !!canClone : !(body?.getReader || body?.[Symbol.asyncIterator]),
    !/^(POST|PATCH)$/i.test(`${init.method ?? request?.method}`),
    init.signal ?? request?.signal,
  ]
}

// As the platform writes an address. Not by `URL`: React Native's own has no origin, and throws.
const normal = (url: string) => new Request(url).url
const originOf = (url: string) => `${url.split('/', 3)}`
const join = (base: string, path: string) => `${base.replace(/\/+$/, '')}/${path.replace(/^\/+/, '')}`

/** Never earlier than Retry-After says; without it 0.5 s, 1 s, 2 s. The random part keeps clients from coming back at once. */
export function waitMs(retryAfter: string | null | undefined, retries: number, platform: Seams): number {
  const asked = Number(retryAfter || '-') * 1000
  const ms = asked >= 0 ? asked : platform.Date.parse(`${retryAfter}`) - platform.Date.now()
  return ms >= 0 ? ms + platform.Math.random() * 250 : BASE_WAIT_MS * 2 ** retries * (0.5 + platform.Math.random())
}
