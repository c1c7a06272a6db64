import { randomBytes } from 'node:crypto'

/** The prefixes of Clerk's and Svix's ids. */
export type IdPrefix =
  | 'user'
  | 'sess'
  | 'client'
  | 'idn'
  | 'ins'
  | 'msg'
  | 'sess_activity'
  | 'org'
  | 'orgmem'
  | 'orginv'
  | 'role'
  | 'perm'

const ALPHABET = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
const KSUID_LENGTH = 27
const KSUID_EPOCH_SECONDS = 1_400_000_000

/**
 * Makes an id like Clerk's: a prefix and a KSUID (32 bits of time in seconds, 128 random bits, base 62), so that ids sort roughly
 * by creation.
 *
 * Source: https://github.com/segmentio/ksuid, and the ids in Clerk's own examples.
 */
export function newId(prefix: IdPrefix, atMs: number): string {
  const bytes = randomBytes(20)
  bytes.writeUInt32BE((Math.floor(atMs / 1000) - KSUID_EPOCH_SECONDS) >>> 0, 0)
  let value = BigInt(`0x${bytes.toString('hex')}`)
  let text = ''
  while (text.length < KSUID_LENGTH) {
    text = ALPHABET.charAt(Number(value % 62n)) + text
    value /= 62n
  }
  return `${prefix}_${text}`
}
