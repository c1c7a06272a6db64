import type { WebhookSigner } from '../sign-webhook.ts'

/** The three signature headers of Svix. */
export interface SvixHeaders {
  'svix-id': string
  'svix-timestamp': string
  'svix-signature': string
}

/**
 * Signs a body like Svix.
 *
 * @param sign the signer of the secret
 * @param timestampSeconds the time of the attempt; receivers refuse times that are more than 5 minutes off
 */
export function signBody(sign: WebhookSigner, id: string, timestampSeconds: number, body: string): SvixHeaders {
  return {
    'svix-id': id,
    'svix-timestamp': String(timestampSeconds),
    'svix-signature': sign(id, timestampSeconds, body),
  }
}
