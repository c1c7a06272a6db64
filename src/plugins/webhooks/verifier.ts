import { isUtf8 } from 'node:buffer'
import { createHmac, createSecretKey, type KeyObject, timingSafeEqual } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import { WebhookHeadersMissing, WebhookSignatureInvalid } from '../../errors.ts'
import { MIN_KEY_BYTES, signingKey } from '../../sign-webhook.ts'

/** A delivery with a valid signature. */
export interface Delivery {
  /** The Svix message id: the same for every delivery of the message. */
  id: string
  /** The time of this attempt, in milliseconds since 1970. */
  sentAt: number
}

// PostgreSQL could not index a longer id; Svix's ids have 31 characters.
const MAX_ID_LENGTH = 255
// Enough for about twenty signatures; Svix sends one for each secret of a rotation.
const MAX_SIGNATURES_LENGTH = 1_024
const TOLERANCE_SECONDS = 300
// Only the form that Svix sends. The svix library also accepts `0123` and `123x`, but then verifies another text than was sent.
const TIMESTAMP = /^[1-9]\d{0,11}$/
const SIGNATURE = /^v1,[A-Za-z0-9+/]{43}=$/

/**
 * Verifies deliveries: signed with any of the secrets, over the raw bytes, at most five minutes ago or ahead
 * (https://docs.svix.com/receiving/verifying-payloads/how-manual). Malformed headers are refused before the body is hashed, and
 * hashing is native: the svix library hashes in JavaScript, which anybody could use to exhaust the CPU. Throws a TypeError if
 * a secret is missing or too short; the verifier throws the 400 to answer with.
 */
export function createVerifier(signingSecrets: readonly string[]) {
  const bytes = signingSecrets.map(signingKey)
  // Anybody could sign with an empty key, which an unset variable would give.
  if (bytes.length === 0 || bytes.some(({ length }) => length < MIN_KEY_BYTES)) {
    throw new TypeError(
      `signingSecrets: expected whsec_ and the base64 of a key of at least ${MIN_KEY_BYTES} bytes (CLERK_WEBHOOK_SIGNING_SECRET; Clerk Dashboard, Webhooks, your endpoint)`,
    )
  }
  const keys = bytes.map((key) => createSecretKey(key))

  return (headers: IncomingHttpHeaders, body: Buffer): Delivery => {
    const id = headers['svix-id'] ?? headers['webhook-id']
    const timestamp = headers['svix-timestamp'] ?? headers['webhook-timestamp']
    const signatures = headers['svix-signature'] ?? headers['webhook-signature']
    if (!id || !timestamp || !signatures) throw new WebhookHeadersMissing()
    const candidates = readSignatures(String(signatures))
    const isPlausible =
      candidates.length > 0 && id.length <= MAX_ID_LENGTH && isRecent(String(timestamp)) && isUtf8(body)
    const isGood = isPlausible && keys.some((key) => isSigned(key, `${id}.${timestamp}.`, body, candidates))
    if (!isGood) throw new WebhookSignatureInvalid()
    return { id: String(id), sentAt: Number(timestamp) * 1000 }
  }
}

function readSignatures(header: string): Buffer[] {
  if (header.length > MAX_SIGNATURES_LENGTH) return []
  return header
    .split(' ')
    .filter((text) => SIGNATURE.test(text))
    .map((text) => Buffer.from(text))
}

const isRecent = (timestamp: string) =>
  TIMESTAMP.test(timestamp) && Math.abs(Math.floor(Date.now() / 1000) - Number(timestamp)) <= TOLERANCE_SECONDS

function isSigned(key: KeyObject, prefix: string, body: Buffer, candidates: readonly Buffer[]): boolean {
  const hmac = createHmac('sha256', key).update(prefix).update(body).digest('base64')
  const expected = Buffer.from(`v1,${hmac}`)
  return candidates.some((given) => timingSafeEqual(given, expected))
}
