import { randomUUID } from 'node:crypto'
import { Webhook } from 'svix'
import type { Config } from '../../config.ts'
import { TEST_EVENT_TYPE } from '../../domain/test-event.ts'
import { type Check, fail, pass, reasonOf, warn } from './check.ts'

const DEADLINE_MS = 5_000

/** The running service: whether it is ready, and takes what the signing secrets sign. */
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
      const remedy = 'something else runs there: name the address of the service with --url, or set PORT'
      return fail('service', `${url} answers ${response.status}, and is no clerk-session-sync`, remedy)
    }
    const { status, checks } = health
    if (status === 'ok') return pass('service', `ready at ${url}`)
    const reasons = Object.entries(checks).flatMap(([name, { reason }]) => (reason ? `${name}: ${reason}` : []))
    return warn('service', `${status} at ${url} (${reasons.join('; ')})`, 'see the other lines, and its log')
  } catch (error) {
    return fail('service', `${url}: ${reasonOf(error)}`, 'start it, or name its address with --url')
  }
}

interface Health {
  status: string
  checks: Record<string, { reason?: string }>
}

/** The reply of a service of ours; undefined when it is of anything else. */
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

/** A delivery of our own: of a type that changes nothing, signed as Svix signs. */
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
    if (response.ok) return pass('webhook delivery', 'signed here, taken there')
    const { code } = (await response.json()) as { code: string }
    const remedy =
      'see its log; after a 400 it runs with another CLERK_WEBHOOK_SIGNING_SECRET: set it, and start it anew'
    return fail('webhook delivery', `refused with ${response.status} ${code}`, remedy)
  } catch (error) {
    return fail('webhook delivery', reasonOf(error), 'see the log of the service')
  }
}
