import { createPrivateKey } from 'node:crypto'
import { parentPort, workerData } from 'node:worker_threads'
import { signJwt } from '../src/emulator/signing-keys.ts'
import { customClaims, organizationId, sessionId, userId } from './bench-user.ts'

export interface SigningOrder {
  issuer: string
  kid: string
  pem: string
  authorizedParty: string
  numbers: number[]
}

const LIFETIME_SECONDS = 30 * 86_400
const order = workerData as SigningOrder
const privateKey = createPrivateKey(order.pem)
const iat = Math.floor(Date.now() / 1000) - 60

// As Clerk makes them (version 2), but for a lifetime that lets them be kept.
const tokens = order.numbers.map((number) => [
  number,
  signJwt(
    { alg: 'RS256', cat: 'cl_B7d4PD111AAA', kid: order.kid, typ: 'JWT' },
    {
      ...customClaims(number),
      azp: order.authorizedParty,
      exp: iat + LIFETIME_SECONDS,
      fva: [1, -1],
      iat,
      iss: order.issuer,
      jti: number.toString(16).padStart(20, '0'),
      nbf: iat - 10,
      o: { id: organizationId(number), slg: 'bench', rol: 'member', per: 'read,write', fpm: '3' },
      fea: 'o:posts',
      sid: sessionId(number),
      sts: 'active',
      sub: userId(number),
      v: 2,
    },
    privateKey,
  ),
])
parentPort?.postMessage(tokens)
