/** Requests as bytes, made before the clock starts. */

const HEADERS = 'Host: 127.0.0.1\r\nUser-Agent: clerk-session-sync-bench\r\nAccept: */*\r\n'

/** With a bearer token and no body. */
export function tokenRequest(method: 'GET' | 'POST', path: string, token: string): Buffer {
  const length = method === 'POST' ? 'Content-Length: 0\r\n' : ''
  return Buffer.from(
    `${method} ${path} HTTP/1.1\r\n${HEADERS}${length}Authorization: Bearer ${token}\r\n\r\n`,
    'latin1',
  )
}

/** As a prober or Prometheus asks. */
export const getRequest = (path: string): Buffer => Buffer.from(`GET ${path} HTTP/1.1\r\n${HEADERS}\r\n`, 'latin1')

/** A delivery. The body is ASCII. */
export function webhookRequest(path: string, headers: Record<string, string>, body: string): Buffer {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  return Buffer.from(
    `POST ${path} HTTP/1.1\r\n${HEADERS}Content-Type: application/json\r\nContent-Length: ${body.length}\r\n${lines.join('')}\r\n${body}`,
    'latin1',
  )
}
