/** HTTP as a hostile client writes it: nothing is checked, folded or encoded on the way. */
import { once } from 'node:events'
import { connect } from 'node:net'

export interface RawReply {
  status: number
  /** Of each header, by its name in lower case, every value that came. */
  headers: Record<string, string[]>
  body: string
}

export interface RawRequest {
  method?: string
  /** Written as they are, in UTF-8. */
  headers?: readonly string[]
  body?: string
}

/** Sends one request on a connection of its own and reads the whole reply, or what there is of it when the other side ends. */
export async function sendRaw(url: string, { method = 'GET', headers = [], body = '' }: RawRequest): Promise<RawReply> {
  const { hostname, port, host, pathname, search } = new URL(url)
  const socket = connect(Number(port), hostname)
  await once(socket, 'connect')
  const head = [`${method} ${pathname}${search} HTTP/1.1`, `Host: ${host}`, ...headers]
  socket.write(`${head.join('\r\n')}\r\n\r\n${body}`)
  let received = ''
  for await (const chunk of socket.setEncoding('latin1')) {
    received += chunk
    if (isWhole(received, method)) break
  }
  return parse(received)
}

function isWhole(received: string, method: string): boolean {
  if (!received.includes('\r\n\r\n')) return false
  const { headers, body } = parse(received)
  return method === 'HEAD' || body.length >= Number(headers['content-length']?.join() ?? Number.POSITIVE_INFINITY)
}

function parse(text: string): RawReply {
  const endOfHead = text.indexOf('\r\n\r\n')
  const [statusLine = '', ...lines] = text.slice(0, endOfHead).split('\r\n')
  const reply: RawReply = { status: Number(statusLine.split(' ')[1]), headers: {}, body: text.slice(endOfHead + 4) }
  for (const line of lines) {
    const colon = line.indexOf(':')
    const name = line.slice(0, colon).toLowerCase()
    reply.headers[name] = [...(reply.headers[name] ?? []), line.slice(colon + 1).trim()]
  }
  return reply
}
