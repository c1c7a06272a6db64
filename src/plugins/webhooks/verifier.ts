import { isUtf8 } from 'node:buffer'
import { createHmac, createSecretKey, timingSafeEqual } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import { Webhook } from 'svix'
import { WebhookHeadersMissing, WebhookSignatureInvalid } from '../../errors.ts'

/** A delivery whose signature is good. */
export interface Delivery {
  /** The Svix message id: the same for every delivery of the message. */
  id: string
  /** Of this attempt, in milliseconds since 1970. */
  sentAt: number
}

/** What svix verifies a body with. */
export interface SignedHeaders extends Record<string, string> {
  'svix-id': string
  'svix-timestamp': string
  'svix-signature': string
}

// Beyond this PostgreSQL could not index the id; Svix's have 31 characters.
const MAX_ID_LENGTH = 255
const TOLERANCE_SECONDS = 300

/**
 * Verifies deliveries: any of the secrets may have signed, over the raw bytes, at most five minutes ago or ahead
 * (https://docs.svix.com/receiving/verifying-payloads/how-manual). svix decides; what our native HMAC accepts, svix would
 * accept too, at several times the cost. Throws the 400 to answer with.
 */
export function createVerifier(signingSecrets: readonly string[]) {
  const natives = signingSecrets.map(createNativeCheck)
  const webhooks = signingSecrets.map((secret) => new Webhook(secret))

  return (headers: IncomingHttpHeaders, body: Buffer): Delivery => {
    const id = headers['svix-id'] ?? headers['webhook-id']
    const timestamp = headers['svix-timestamp'] ?? headers['webhook-timestamp']
    const signature = headers['svix-signature'] ?? headers['webhook-signature']
    if (!id || !timestamp || !signature) throw new WebhookHeadersMissing()
    const signed = { 'svix-id': String(id), 'svix-timestamp': String(timestamp), 'svix-signature': String(signature) }
    const isGood =
      natives.some((accepts) => accepts(signed, body)) || webhooks.some((webhook) => isSigned(webhook, signed, body))
    if (!isGood || signed['svix-id'].length > MAX_ID_LENGTH) throw new WebhookSignatureInvalid()
    return { id: signed['svix-id'], sentAt: Number.parseInt(signed['svix-timestamp'], 10) * 1000 }
  }
}

/** A check that accepts nothing that svix would refuse, and leaves to svix what is unusual. */
export function createNativeCheck(secret: string): (headers: SignedHeaders, body: Buffer) => boolean {
  const key = createSecretKey(Buffer.from(secret.replace(/^whsec_/, ''), 'base64'))

  return (headers, body) => {
    const timestamp = headers['svix-timestamp']
    // svix signs the timestamp as a number and the body as text: only where both are the same bytes do we agree with it.
    if (!/^[1-9]\d{0,11}$/.test(timestamp) || !isUtf8(body)) return false
    if (Math.abs(Math.floor(Date.now() / 1000) - Number(timestamp)) > TOLERANCE_SECONDS) return false
    const hmac = createHmac('sha256', key).update(`${headers['svix-id']}.${timestamp}.`).update(body).digest('base64')
    const expected = Buffer.from(`v1,${hmac}`)
    return headers['svix-signature'].split(' ').some((given) => {
      const bytes = Buffer.from(given)
      return bytes.length === expected.length && timingSafeEqual(bytes, expected)
    })
  }
}

function isSigned(webhook: Webhook, headers: SignedHeaders, body: Buffer): boolean {
  try {
    webhook.verify(body, headers)
    return true
  } catch {
    return false
  }
}
