import { createSign, generateKeyPairSync, type KeyObject } from 'node:crypto'
import type { ClerkEmulator } from '../../src/emulator/index.ts'

/** What a token is made of: text as it is, anything else as JSON. */
type Part = string | object | null

/** An RSA key of the test's own, for tokens that no emulator would make. */
export function createSigner(kid = 'ins_2signerOfTheTest') {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  return {
    kid,
    privateKey,
    pem: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
    jwk: { use: 'sig', kty: 'RSA', kid, alg: 'RS256', ...publicKey.export({ format: 'jwk' }) },
    /** Signs whatever is given, RS256 unless another way of signing is. */
    sign: (header: Part, payload: Part, how: Signature = rs256(privateKey)): string => {
      const input = `${encode(header)}.${encode(payload)}`
      return `${input}.${how(input).toString('base64url')}`
    },
  }
}

export type Signer = ReturnType<typeof createSigner>
export type Signature = (input: string) => Buffer

export const rs256 = (key: KeyObject): Signature => {
  return (input) => createSign('sha256').update(input).sign(key)
}

const encode = (part: Part) => Buffer.from(typeof part === 'string' ? part : JSON.stringify(part)).toString('base64url')

/** Has the emulator list the signer's key beside its own, so that the issuer vouches for it. */
export async function listKey(clerk: ClerkEmulator, { jwk }: Signer): Promise<void> {
  const response = await fetch(`${clerk.issuer}/.well-known/jwks.json`)
  const { keys } = (await response.json()) as { keys: object[] }
  const body = JSON.stringify({ keys: [...keys, jwk] })
  clerk.faults.jwks = { status: 200, headers: { 'content-type': 'application/json' }, body }
  clerk.stats.jwksRequests = 0
}
