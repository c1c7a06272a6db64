import { createHmac, createSecretKey } from 'node:crypto'

/**
 * Makes the signer of a secret (`whsec_` and the base64 of the key), as Svix and Standard Webhooks sign: `v1,` and an HMAC over the
 * message's id, the Unix seconds of the attempt and the body (https://docs.svix.com/receiving/verifying-payloads/how-manual).
 */
export function createWebhookSigner(secret: string): (id: string, sentAtSeconds: number, body: string) => string {
  const bytes = Buffer.from(secret.replace(/^whsec_/, ''), 'base64')
  if (bytes.length === 0) throw new TypeError('the signing secret is empty: expected whsec_ and the base64 of a key')
  const key = createSecretKey(bytes)
  return (id, sentAtSeconds, body) =>
    `v1,${createHmac('sha256', key).update(`${id}.${sentAtSeconds}.${body}`).digest('base64')}`
}

export type WebhookSigner = ReturnType<typeof createWebhookSigner>
