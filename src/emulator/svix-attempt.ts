import { type Agent, request } from 'node:http'
import { text } from 'node:stream/consumers'

export interface AttemptInput {
  url: string
  headers: Record<string, string>
  body: string
  /** The time limit from the connection to the end of the answer; Svix allows 15 s. */
  timeoutMs: number
  agent: Agent
  signal: AbortSignal
}

/**
 * Posts one webhook. Redirects are not followed: to Svix a 3xx is a failure.
 *
 * @throws if there is no complete answer in time
 */
export function postWebhook(input: AttemptInput): Promise<{ status: number; body: string }> {
  const { url, headers, body, timeoutMs, agent, signal } = input
  return new Promise((resolve, reject) => {
    const outgoing = request(url, { method: 'POST', headers, agent, signal })
    let deadline: NodeJS.Timeout | undefined
    // Starts with the socket, so that a message that waits for a free one does not time out in the queue.
    outgoing.once('socket', () => {
      deadline = setTimeout(() => outgoing.destroy(new Error(`No answer within ${timeoutMs} ms`)), timeoutMs)
    })
    outgoing.once('close', () => clearTimeout(deadline))
    outgoing.once('error', reject)
    outgoing.once('response', (response) => {
      text(response).then((answer) => resolve({ status: response.statusCode as number, body: answer }), reject)
    })
    outgoing.end(body)
  })
}
