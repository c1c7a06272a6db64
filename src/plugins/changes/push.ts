/** Pushes changes as webhooks, following Standard Webhooks (https://github.com/standard-webhooks/standard-webhooks). */
import { Agent, request } from 'undici'
import type { FeedEntry } from '../../db/changes/read.ts'
import { typeOf } from '../../domain/feed.ts'
import { DeliveryError } from '../../jobs/delivery-lanes.ts'
import { createWebhookSigner } from '../../sign-webhook.ts'

export interface PushOptions {
  url: string
  /** `whsec_…` */
  secret: string
  /** How long an attempt may take; 15 s by default, like Svix. */
  timeoutMs?: number
  /** The waits before the second, third… attempt; Svix's by default. */
  scheduleMs?: readonly number[]
}

export interface Push {
  /** Posts a change. Rejects unless the answer is a 2xx in time; the change must then be sent again. */
  deliver(entry: FeedEntry): Promise<void>
  close(): Promise<void>
}

/** The largest number of parallel attempts. */
export const PUSH_CONCURRENCY = 16
const TIMEOUT_MS = 15_000
// Only the status of the answer matters; a connection with a longer body is closed instead of reused.
const MAX_ANSWER_BYTES = 16_384

export function createPush({ url, secret, timeoutMs = TIMEOUT_MS }: PushOptions): Push {
  const sign = createWebhookSigner(secret)
  const agent = new Agent({ connections: PUSH_CONCURRENCY, connectTimeout: timeoutMs })

  return {
    async deliver({ change }) {
      const { id, occurredAt: timestamp, entityId, changed, cause } = change
      const body = JSON.stringify({ type: typeOf(change), timestamp, data: { id: entityId, changed, cause } })
      // The time of this attempt: receivers refuse a timestamp that is more than five minutes off.
      const sentAt = Math.floor(Date.now() / 1_000)
      const answer = await request(url, {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          'user-agent': 'clerk-session-sync',
          'webhook-id': id,
          'webhook-timestamp': String(sentAt),
          'webhook-signature': sign(id, sentAt, body),
        },
        body,
        dispatcher: agent,
        signal: AbortSignal.timeout(timeoutMs),
      })
      await answer.body.dump({ limit: MAX_ANSWER_BYTES })
      if (answer.statusCode < 200 || answer.statusCode > 299) throw new DeliveryError(`answered ${answer.statusCode}`)
    },
    close: () => agent.destroy(),
  }
}
