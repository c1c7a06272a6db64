import type { User } from './schemas.ts'
import { blankUser } from './user-json.ts'

const ID_PREFIX = 'user_2Seed'
const ID_DIGITS = 22
const ID_PATTERN = /^user_2Seed(\d{22})$/
const EMAIL_PATTERN = /^seed-(\d+)@example\.com$/
const SPACING_MS = 1000

interface Block {
  first: number
  end: number
  firstCreatedAtMs: number
}

/**
 * Users that are computed from a number instead of stored: number 42 has the id `user_2Seed…42`, the email address
 * `seed-42@example.com`, and was created a second after number 41.
 */
export class SeededUsers {
  readonly #blocks: Block[] = []

  /** Adds the numbers from `first` to `first + count - 1`; the youngest was created at `lastCreatedAtMs`. */
  add(first: number, count: number, lastCreatedAtMs: number): void {
    this.#blocks.push({ first, end: first + count, firstCreatedAtMs: lastCreatedAtMs - (count - 1) * SPACING_MS })
  }

  /** The `created_at` of a number; undefined if the number was not seeded. */
  createdAt(number: number): number | undefined {
    const block = this.#blocks.find(({ first, end }) => number >= first && number < end)
    return block && block.firstCreatedAtMs + (number - block.first) * SPACING_MS
  }

  /** The number in an id; undefined if the id does not belong to a seeded user. */
  numberOfId(id: string): number | undefined {
    return this.#seededNumber(ID_PATTERN.exec(id))
  }

  /** The number in an email address; undefined if it does not belong to a seeded user. */
  numberOfEmail(address: string): number | undefined {
    return this.#seededNumber(EMAIL_PATTERN.exec(address))
  }

  /** Makes a new copy of the user; equal calls return equal users. */
  make(number: number, createdAtMs: number): User {
    const user = blankUser(ID_PREFIX + String(number).padStart(ID_DIGITS, '0'), createdAtMs)
    const identificationId = `idn_2Seed${String(number).padStart(ID_DIGITS, '0')}`
    user.first_name = 'Seed'
    user.last_name = String(number)
    user.primary_email_address_id = identificationId
    user.email_addresses = [
      {
        id: identificationId,
        object: 'email_address',
        email_address: `seed-${number}@example.com`,
        reserved: false,
        verification: {
          object: 'verification_admin',
          status: 'verified',
          strategy: 'admin',
          attempts: null,
          expire_at: null,
        },
        linked_to: [],
        matches_sso_connection: false,
        created_at: createdAtMs,
        updated_at: createdAtMs,
      },
    ]
    return user
  }

  #seededNumber(match: RegExpExecArray | null): number | undefined {
    const number = Number(match?.[1])
    return this.createdAt(number) === undefined ? undefined : number
  }
}
