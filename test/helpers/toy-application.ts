/** What stands behind a forward-auth proxy in tests, and the headers that it is given. */
import { createHash } from 'node:crypto'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import type { Test } from 'tap'

/** The names of the headers, without `X-Auth-Request-`. */
export const IDENTITY_HEADERS = [
  'user',
  'email',
  'session',
  'organization',
  'organization-slug',
  'role',
  'permissions',
  'plan',
  'features',
  'actor',
]

interface Seen {
  method: string
  url: string
  headers: IncomingHttpHeaders
  body: string
}

/** Keeps what arrives; echoes on a WebSocket; answers preflights itself, and `/broken` with 500. */
export async function startApplication(t: Test) {
  const seen: Seen[] = []
  const server = createServer(async (request, response) => {
    const { method = '', url = '', headers } = request
    seen.push({ method, url, headers, body: await text(request) })
    if (method === 'OPTIONS') response.writeHead(204, { 'access-control-allow-methods': 'PUT' }).end()
    else response.writeHead(url === '/broken' ? 500 : 200, { 'x-application': 'toy' }).end('from the application')
  })
  server.on('upgrade', ({ method = '', url = '', headers }, socket) => {
    seen.push({ method, url, headers, body: '' })
    const accept = createHash('sha1').update(`${headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
    socket.on('error', () => {})
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept.digest('base64')}\r\n\r\n`,
    )
    socket.pipe(socket)
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return { seen, address: `127.0.0.1:${(server.address() as AddressInfo).port}`, close: () => server.close() }
}
