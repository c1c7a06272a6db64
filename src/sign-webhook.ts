import { createHmac, createSecretKey } from 'node:crypto'

/** A shorter key can be guessed. */
export const MIN_KEY_BYTES = 16

/** The key of a secret (`whsec_` and the key in base64). */
export const signingKey = (secret: string): Buffer => Buffer.from(secret.replace(/^whsec_/, ''), 'base64')

/**
 * Creates a signer for a secret (`whsec_` and the key in base64), compatible with Svix and Standard Webhooks: `v1,` and an HMAC
 * over message id, Unix seconds and body (https://docs.svix.com/receiving/verifying-payloads/how-manual).
 */
export function createWebhookSigner(secret: string): (id: string, sentAtSeconds: number, body: string) => string {
  const bytes = signingKey(secret)
  if (bytes.length === 0) throw new TypeError('the signing secret has no key: expected whsec_ and the base64 of one')
  const key = createSecretKey(bytes)
  return (id, sentAtSeconds, body) =>
    `v1,${createHmac('sha256', key).update(`${id}.${sentAtSeconds}.${body}`).digest('base64')}`
}

export type WebhookSigner = ReturnType<typeof createWebhookSigner>
