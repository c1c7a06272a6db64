/** Events as Clerk sends them, about 2.8 KB each, every one signed for itself. */
import { createHmac, createSecretKey, type KeyObject } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { emailOf, IMAGE_URL, messageId, userId } from './bench-user.ts'
import { webhookRequest } from './requests.ts'

export interface BenchEvent {
  /** Of the message: its id. */
  sequence: number
  /** Of the user. */
  number: number
  /** `updated_at`, in ms; the last name says it too. */
  version: number
}

/** What the row must hold after the event. */
export const lastNameOf = ({ version }: BenchEvent) => `Version ${version}`

// In the template each stands where the event's own value goes.
const MARK = {
  user: 'MARK_USER',
  email: 'MARK_EMAIL',
  name: 'MARK_NAME',
  version: 1_111_111_111_111,
  type: 'MARK_TYPE',
}
const MARKS = /MARK_[A-Z]+|1111111111111/

/** Makes the signed request of a body. */
export function createSigner(path: string, secret: string) {
  const key = createSecretKey(Buffer.from(secret.replace('whsec_', ''), 'base64'))
  return (sequence: number, body: string): Buffer =>
    webhookRequest(path, headersOf(key, messageId(sequence), body), body)
}

/** Makes the signed request of an event. */
export function createEventFactory(sign: ReturnType<typeof createSigner>) {
  const template = makeTemplate()
  const texts = template.split(new RegExp(MARKS, 'g'))
  const marks = [...template.matchAll(new RegExp(MARKS, 'g'))].map(([mark]) => mark)

  return (type: 'user.created' | 'user.updated', event: BenchEvent): Buffer => {
    const values: Record<string, string> = {
      [MARK.user]: userId(event.number),
      [MARK.email]: emailOf(event.number),
      [MARK.name]: lastNameOf(event),
      [MARK.version]: String(event.version),
      [MARK.type]: type,
    }
    let body = texts[0] as string
    for (const [index, mark] of marks.entries()) body += (values[mark] as string) + texts[index + 1]
    return sign(event.sequence, body)
  }
}

// https://docs.svix.com/receiving/verifying-payloads/how-manual
function headersOf(key: KeyObject, id: string, body: string): Record<string, string> {
  const timestamp = Math.floor(Date.now() / 1000)
  const signature = createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64')
  return { 'svix-id': id, 'svix-timestamp': String(timestamp), 'svix-signature': `v1,${signature}` }
}

/** A recorded `user.created`, of a user who also signs in with Google. */
function makeTemplate(): string {
  const file = new URL('../test/fixtures/user.created.json', import.meta.url)
  const event = JSON.parse(readFileSync(file, 'utf8'))
  const [, address] = event.data.email_addresses
  const external = { id: 'eac_2g7npZzYyXxWwVvUuTtSsRrQqPp', object: 'external_account', provider: 'oauth_google' }
  return JSON.stringify({
    ...event,
    type: MARK.type,
    timestamp: MARK.version,
    data: {
      ...event.data,
      id: MARK.user,
      last_name: MARK.name,
      image_url: IMAGE_URL,
      updated_at: MARK.version,
      email_addresses: [
        event.data.email_addresses[0],
        { ...address, email_address: MARK.email, linked_to: [{ id: external.id, type: external.provider }] },
      ],
      external_accounts: [
        {
          ...external,
          identification_id: 'idn_2g7npGgOoOoGgLlEe0123456789',
          provider_user_id: '104856789012345678901',
          approved_scopes: 'email https://www.googleapis.com/auth/userinfo.email openid profile',
          email_address: MARK.email,
          first_name: 'Bench',
          last_name: MARK.name,
          avatar_url: IMAGE_URL,
          verification: { object: 'verification_oauth', status: 'verified', strategy: 'oauth_google', attempts: null },
        },
      ],
    },
  })
}
