import { createSign, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { newId } from './ids.ts'

/** A signing key of the instance. Clerk's key ids look like instance ids: `ins_…`. */
export interface SigningKey {
  kid: string
  privateKey: KeyObject
  publicKey: KeyObject
}

/** A public key in a JWKS. */
export interface PublicJwk {
  use: 'sig'
  kty: 'RSA'
  kid: string
  alg: 'RS256'
  n: string
  e: string
}

/**
 * The instance's RS256 keys, the current one first. A key is created when it is first used, because that takes a tenth of a second
 * and many tests never need one.
 */
export class SigningKeys {
  readonly #now: () => number
  #keys: SigningKey[] = []

  /** @param now the clock for the time in key ids, Unix ms */
  constructor(now: () => number) {
    this.#now = now
  }

  get current(): SigningKey {
    return this.#all[0] as SigningKey
  }

  /** Signs with a new key from now on. The old ones stay listed, unless `keepOld` is false. */
  rotate(keepOld: boolean): void {
    this.#keys = [newSigningKey(this.#now()), ...(keepOld ? this.#all : [])]
  }

  dropOld(): void {
    this.#keys = [this.current]
  }

  /** The public keys, RFC 7517. */
  toJwks(): { keys: PublicJwk[] } {
    return {
      keys: this.#all.map(({ kid, publicKey }) => {
        const { n, e } = publicKey.export({ format: 'jwk' }) as { n: string; e: string }
        return { use: 'sig', kty: 'RSA', kid, alg: 'RS256', n, e }
      }),
    }
  }

  /** The current public key as PEM (SPKI), which Clerk's dashboard shows as the JWKS public key. */
  toPem(): string {
    return this.current.publicKey.export({ format: 'pem', type: 'spki' }).toString()
  }

  get #all(): SigningKey[] {
    if (this.#keys.length === 0) this.#keys = [newSigningKey(this.#now())]
    return this.#keys
  }
}

/** A compact JWS (RFC 7515), signed with RSASSA-PKCS1-v1_5 and SHA-256 regardless of the header's `alg`. */
export function signJwt(header: object, claims: object, privateKey: KeyObject | string): string {
  const signingInput = `${encode(header)}.${encode(claims)}`
  return `${signingInput}.${createSign('sha256').update(signingInput).sign(privateKey, 'base64url')}`
}

function newSigningKey(atMs: number): SigningKey {
  return { kid: newId('ins', atMs), ...generateKeyPairSync('rsa', { modulusLength: 2048 }) }
}

const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
