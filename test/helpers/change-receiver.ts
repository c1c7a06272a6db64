import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { Webhook } from 'svix'
import type { Scope } from './own-postgres.ts'

export const PUSH_SECRET = `whsec_${Buffer.from('a key of thirty-two bytes, at all').toString('base64')}`

export interface Received {
  id: string
  type: string
  entityId: string
  changed: string[]
  cause: string | null
  at: number
}

export interface ChangeReceiver {
  url: string
  /** What came with a good signature, in its order, whatever it was answered. */
  received: Received[]
  /** What each delivery is answered with: a status, or whatever else happens. 200 by default. */
  answer: (received: Received, response: ServerResponse) => number | undefined | Promise<number | undefined>
}

/** Receives what the change feed pushes, and verifies it with svix. */
export async function startChangeReceiver(t: Scope): Promise<ChangeReceiver> {
  const webhook = new Webhook(PUSH_SECRET)
  const receiver: ChangeReceiver = { url: '', received: [], answer: () => 200 }
  const server = createServer(async (request: IncomingMessage, response: ServerResponse) => {
    const body = await text(request)
    webhook.verify(body, request.headers as Record<string, string>)
    const { type, data } = JSON.parse(body)
    const one = {
      id: String(request.headers['webhook-id']),
      type,
      entityId: data.id,
      changed: data.changed,
      cause: data.cause,
      at: Date.now(),
    }
    receiver.received.push(one)
    const status = await receiver.answer(one, response)
    if (status !== undefined) response.writeHead(status).end()
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  receiver.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/changes`
  t.teardown(async () => {
    server.closeAllConnections()
    await new Promise((done) => server.close(done))
  })
  return receiver
}
