import type { WebhookSigner } from '../sign-webhook.ts'

/** The three headers that Svix signs a message with. */
export interface SvixHeaders {
  'svix-id': string
  'svix-timestamp': string
  'svix-signature': string
}

/**
 * Signs a body as Svix does.
 *
 * @param sign made of the secret
 * @param timestampSeconds when the attempt is made; receivers refuse what is more than 5 minutes off
 */
export function signBody(sign: WebhookSigner, id: string, timestampSeconds: number, body: string): SvixHeaders {
  return {
    'svix-id': id,
    'svix-timestamp': String(timestampSeconds),
    'svix-signature': sign(id, timestampSeconds, body),
  }
}
