import { createPublicKey } from 'node:crypto'
import { test } from 'tap'
import { startClerk } from '../start-clerk.ts'

test('the JWKS lists the public key, and nothing of the private one', async (t) => {
  const clerk = await startClerk(t)
  const response = await fetch(`${clerk.issuer}/.well-known/jwks.json`)
  const { keys } = (await response.json()) as { keys: [Record<string, string>] }
  t.same(Object.keys(keys[0]).sort(), ['alg', 'e', 'kid', 'kty', 'n', 'use'])
  t.match(keys, [{ use: 'sig', kty: 'RSA', alg: 'RS256', kid: /^ins_[0-9A-Za-z]{27}$/ }])
  const pem = createPublicKey({ key: keys[0], format: 'jwk' }).export({ format: 'pem', type: 'spki' })
  t.equal(pem, clerk.jwtKey)
  t.equal(clerk.stats.jwksRequests, 1)
})

test('the discovery document names the issuer and the JWKS', async (t) => {
  const clerk = await startClerk(t)
  const response = await fetch(`${clerk.issuer}/.well-known/openid-configuration`)
  t.match(await response.json(), { issuer: clerk.issuer, jwks_uri: `${clerk.issuer}/.well-known/jwks.json` })
})
