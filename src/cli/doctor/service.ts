import { randomUUID } from 'node:crypto'
import { Webhook } from 'svix'
import type { Config } from '../../config.ts'
import { TEST_EVENT_TYPE } from '../../domain/test-event.ts'
import { type Check, fail, pass, reasonOf, warn } from './check.ts'

const DEADLINE_MS = 5_000

/** Checks that the service is ready, and accepts webhooks signed with each signing secret. */
export async function checkService(config: Config, url: string): Promise<Check[]> {
  const ready = await checkReady(url)
  if (ready.status === 'fail') return [ready]
  return [
    ready,
    ...(await Promise.all(config.CLERK_WEBHOOK_SIGNING_SECRET.map((secret) => checkDelivery(url, secret)))),
  ]
}

async function checkReady(url: string): Promise<Check> {
  try {
    const response = await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(DEADLINE_MS) })
    const health = readHealth(await response.text())
    if (!health) {
      const remedy = 'another program runs there: give the URL of the service with --url, or set PORT'
      return fail('service', `${url} answers ${response.status}, but is not clerk-session-sync`, remedy)
    }
    const { status, checks } = health
    if (status === 'ok') return pass('service', `ready at ${url}`)
    const reasons = Object.entries(checks).flatMap(([name, { reason }]) => (reason ? `${name}: ${reason}` : []))
    return warn(
      'service',
      `${status} at ${url} (${reasons.join('; ')})`,
      'see the other checks and the log of the service',
    )
  } catch (error) {
    return fail('service', `${url}: ${reasonOf(error)}`, 'start the service, or give its URL with --url')
  }
}

interface Health {
  status: string
  checks: Record<string, { reason?: string }>
}

/** Parses a health reply; undefined if the reply is not from this service. */
function readHealth(text: string): Health | undefined {
  try {
    const { status, checks } = JSON.parse(text) as Health
    return ['ok', 'degraded', 'down'].includes(status) && typeof checks.database === 'object'
      ? { status, checks }
      : undefined
  } catch {
    return undefined
  }
}

/** Sends a test delivery, signed like Svix, of an event type that changes nothing. */
async function checkDelivery(url: string, secret: string): Promise<Check> {
  const id = `msg_test_${randomUUID()}`
  const sentAt = Date.now()
  const sentAtSeconds = Math.floor(sentAt / 1_000)
  const body = JSON.stringify({ type: TEST_EVENT_TYPE, object: 'event', timestamp: sentAt, data: {} })
  try {
    const response = await fetch(`${url}/clerk`, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        'svix-id': id,
        'svix-timestamp': String(sentAtSeconds),
        'svix-signature': new Webhook(secret).sign(id, new Date(sentAt), body),
      },
      body,
      signal: AbortSignal.timeout(DEADLINE_MS),
    })
    if (response.ok) return pass('webhook delivery', 'the service accepts a delivery signed with this secret')
    const { code } = (await response.json()) as { code: string }
    const remedy =
      response.status === 400
        ? 'the service runs with another CLERK_WEBHOOK_SIGNING_SECRET: set this one there, and restart it'
        : 'see the log of the service'
    return fail('webhook delivery', `refused with ${response.status} ${code}`, remedy)
  } catch (error) {
    return fail('webhook delivery', reasonOf(error), 'see the log of the service')
  }
}
