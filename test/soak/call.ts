import { Agent, request } from 'node:http'
import { text } from 'node:stream/consumers'

export interface Call {
  url: string
  method?: string
  headers?: Record<string, string>
  body?: string
  timeoutMs: number
}

export interface Answer {
  /** Undefined when none came: refused, reset, or out of time. */
  status?: number
  retryAfter?: string
  body: string
  /** Why none came. */
  reason?: string
  durationMs: number
}

const agent = new Agent({ keepAlive: true, maxSockets: 64 })

/** One HTTP request, over a connection kept open where there is one. Never rejects. */
export async function call({ url, method = 'GET', headers = {}, body, timeoutMs }: Call): Promise<Answer> {
  const startedAt = performance.now()
  const since = () => performance.now() - startedAt
  try {
    const { status, retryAfter, reply } = await new Promise<{ status?: number; retryAfter?: string; reply: string }>(
      (resolve, reject) => {
        const length = body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) }
        const outgoing = request(url, { method, agent, headers: { ...headers, ...length } })
        const deadline = setTimeout(() => outgoing.destroy(new Error(`nothing within ${timeoutMs} ms`)), timeoutMs)
        outgoing.once('close', () => clearTimeout(deadline))
        outgoing.once('error', reject)
        outgoing.once('response', (response) => {
          const retryAfter = response.headers['retry-after']
          text(response).then((reply) => resolve({ status: response.statusCode, retryAfter, reply }), reject)
        })
        outgoing.end(body)
      },
    )
    return { status, retryAfter, body: reply, durationMs: since() }
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    return { body: '', reason: code ?? message, durationMs: since() }
  }
}
