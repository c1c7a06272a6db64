import type { Webhook } from 'svix'

/** The three headers that Svix signs a message with. */
export interface SvixHeaders {
  'svix-id': string
  'svix-timestamp': string
  'svix-signature': string
}

/**
 * Signs a body as Svix does.
 *
 * @param signer made of the secret, `whsec_` and the base64 of the key
 * @param timestampSeconds when the attempt is made; receivers refuse what is more than 5 minutes off
 * Source: https://docs.svix.com/receiving/verifying-payloads/how-manual.
 */
export function signBody(signer: Webhook, id: string, timestampSeconds: number, body: string): SvixHeaders {
  return {
    'svix-id': id,
    'svix-timestamp': String(timestampSeconds),
    'svix-signature': signer.sign(id, new Date(timestampSeconds * 1000), body),
  }
}
