import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { promisify } from 'node:util'
import type { Test } from 'tap'

/** A webhook's envelope, as far as the tests look into it. */
export interface ReceivedEvent {
  object: string
  type: string
  timestamp: number
  instance_id: string
  event_attributes: { http_request: { client_ip: string; user_agent: string } }
  data: { id: string; updated_at: number; user?: { id: string; updated_at: number } | null; [field: string]: unknown }
}

export interface ReceivedRequest {
  headers: IncomingHttpHeaders
  body: string
  event: ReceivedEvent
}

/**
 * An endpoint for webhooks that remembers what it got, in order of arrival.
 *
 * @param answer replies to the request with the given index; default 200
 */
export async function startReceiver(
  t: Test,
  answer: (response: ServerResponse, index: number) => void = (response) => response.end('{"received":true}'),
) {
  const requests: ReceivedRequest[] = []
  const server = createServer(async (request, response) => {
    const body = await text(request)
    const index = requests.push({ headers: request.headers, body, event: JSON.parse(body) }) - 1
    answer(response, index)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}/clerk`,
    requests,
    types: () => requests.map(({ event }) => event.type),
    countConnections: promisify(server.getConnections.bind(server)),
  }
}

/** Answers with these statuses, then with 200. */
export const statuses =
  (...codes: number[]) =>
  (response: ServerResponse, index: number) =>
    response.writeHead(codes[index] ?? 200).end('answer')
