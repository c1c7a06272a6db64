import { generateKeyPairSync } from 'node:crypto'
import { verifyToken } from '@clerk/backend'
import { test } from 'tap'
import { errorLike, manualClock, startClerk } from './start-clerk.ts'

type Clerk = Awaited<ReturnType<typeof startClerk>>

const remote = ({ secretKey, apiUrl }: Clerk) => ({ secretKey, apiUrl })
const rejectedFor = (reason: string) => errorLike({ reason })

function signedIn(clerk: Clerk, settings?: { status: 'pending' }) {
  return clerk.signIn(clerk.createUser().id, settings)
}

function headerOf(token: string) {
  return JSON.parse(Buffer.from(token.split('.')[0] ?? '', 'base64url').toString())
}

test('@clerk/backend verifies a token with the JWKS of the Backend API, and with the PEM', async (t) => {
  const clock = manualClock(Date.now() - 125_000)
  const clerk = await startClerk(t, { authorizedParty: 'https://app.example.com', now: clock.now })
  const session = signedIn(clerk)
  clock.nowMs += 125_000
  const token = clerk.sessionToken(session.id)
  const nowSeconds = Math.floor(clock.nowMs / 1000)
  const verified = await verifyToken(token, { ...remote(clerk), authorizedParties: ['https://app.example.com'] })
  t.match(verified, {
    v: 2,
    iss: clerk.issuer,
    sub: session.user_id,
    sid: session.id,
    azp: 'https://app.example.com',
    iat: nowSeconds,
    nbf: nowSeconds - 10,
    exp: nowSeconds + 60,
    fva: [2, -1],
    sts: 'active',
    jti: /^[0-9a-f]{20}$/,
  })
  t.equal(clerk.stats.backendJwksRequests, 1)
  t.match(await verifyToken(token, { jwtKey: clerk.jwtKey }), { sid: session.id })
  t.equal(clerk.stats.backendJwksRequests, 1, 'the PEM needs no network')
  t.same(headerOf(token), { alg: 'RS256', cat: 'cl_B7d4PD111AAA', kid: headerOf(token).kid, typ: 'JWT' })
})

test('@clerk/backend rejects tokens that were tampered with, are expired, or have another issuer', async (t) => {
  const clerk = await startClerk(t, { authorizedParty: 'https://app.example.com' })
  const { id } = signedIn(clerk)
  const verify = (token: string, more = {}) => verifyToken(token, { ...remote(clerk), ...more })

  const [header, , signature] = clerk.sessionToken(id).split('.')
  const forged = Buffer.from(JSON.stringify({ sub: 'user_other', iat: 0, exp: 9_999_999_999 })).toString('base64url')
  await t.rejects(verify(`${header}.${forged}.${signature}`), rejectedFor('token-invalid-signature'))
  await t.rejects(verify(clerk.sessionToken(id, { expiresInSeconds: -30 })), rejectedFor('token-expired'))
  const future = Math.floor(Date.now() / 1000) + 600
  await t.rejects(
    verify(clerk.sessionToken(id, { claims: { nbf: future, exp: future + 60 } })),
    rejectedFor('token-not-active-yet'),
  )
  await t.rejects(
    verify(clerk.sessionToken(id), { authorizedParties: ['https://other.example.com'] }),
    rejectedFor('token-invalid-authorized-parties'),
  )
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  await t.rejects(verify(clerk.sessionToken(id, { privateKey })), rejectedFor('token-invalid-signature'))
  const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
  await t.rejects(verify(clerk.sessionToken(id, { privateKey: pem })), rejectedFor('token-invalid-signature'))
  await t.rejects(verify(clerk.sessionToken(id, { kid: 'ins_unknown' })), rejectedFor('jwk-kid-mismatch'))
  await t.rejects(verify(clerk.sessionToken(id, { header: { alg: 'HS256' } })), rejectedFor('token-invalid-algorithm'))
})

test('claims may be added, changed and left out', async (t) => {
  const clerk = await startClerk(t, {
    tokenTtlSeconds: 3600,
    sessionClaims: (user, session) => ({
      email: user.email_addresses[0]?.email_address,
      kind: session.object,
      sub: 'x',
    }),
  })
  const session = clerk.signIn(clerk.createUser({ email: 'ada@example.com' }).id, { status: 'pending' })
  const claims = await verifyToken(clerk.sessionToken(session.id), { jwtKey: clerk.jwtKey })
  t.match(claims, { email: 'ada@example.com', kind: 'session', sub: session.user_id, sts: 'pending' })
  t.equal(claims.exp - claims.iat, 3600)

  const token = clerk.sessionToken(session.id, { claims: { org: 'acme' }, omit: ['azp', 'fva'], header: { oiat: 1 } })
  const changed = await verifyToken(token, { jwtKey: clerk.jwtKey })
  t.equal(changed.org, 'acme')
  t.notOk('azp' in changed || 'fva' in changed)
  t.equal(headerOf(token).oiat, 1)
})

test('a token may outlive its session and its user, as one issued before would', async (t) => {
  const clerk = await startClerk(t, { sessionClaims: ({ id }) => ({ user: id }) })
  const session = signedIn(clerk)
  clerk.deleteUser(session.user_id)
  const claims = await verifyToken(clerk.sessionToken(session.id), { jwtKey: clerk.jwtKey })
  t.match(claims, { sub: session.user_id, sid: session.id, sts: 'active' })
  t.notOk('user' in claims)
  t.throws(() => clerk.sessionToken('sess_unknown'), errorLike({ statusCode: 404 }))
})

test('after a rotation both keys are good until the old one is dropped', async (t) => {
  const clerk = await startClerk(t)
  const { id } = signedIn(clerk)
  const kids = async () => {
    const response = await fetch(`${clerk.url}/.well-known/jwks.json`)
    const { keys } = (await response.json()) as { keys: { kid: string; n: string }[] }
    return keys.map(({ kid }) => kid)
  }
  // A new address each time: the SDK never forgets the keys that it got from one.
  let look = 0
  const verify = (token: string) => verifyToken(token, { ...remote(clerk), apiUrl: `${clerk.apiUrl}/?${look++}` })

  const oldPem = clerk.jwtKey
  const oldToken = clerk.sessionToken(id)
  clerk.rotateKeys()
  const newToken = clerk.sessionToken(id)
  t.same(await kids(), [headerOf(newToken).kid, headerOf(oldToken).kid])
  t.not(clerk.jwtKey, oldPem)
  t.ok(await verify(oldToken))
  t.ok(await verify(newToken))

  clerk.dropOldKeys()
  t.same(await kids(), [headerOf(newToken).kid])
  await t.rejects(verify(oldToken), rejectedFor('jwk-kid-mismatch'))

  clerk.rotateKeys({ keepOld: false })
  t.same(await kids(), [headerOf(clerk.sessionToken(id)).kid])
  await t.rejects(verify(newToken), rejectedFor('jwk-kid-mismatch'))
})
