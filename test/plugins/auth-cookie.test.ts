import { getCookieSuffix } from '@clerk/shared/keys'
import { type Test, test } from 'tap'
import type { TokenOverrides } from '../../src/emulator/index.ts'
import { suffixedCookie } from '../../src/plugins/credentials.ts'
import { type Service, startService } from '../helpers/service.ts'

const PARTY = 'https://app.example.com'
const parties = { CLERK_AUTHORIZED_PARTIES: PARTY }

async function startSignedIn(t: Test, settings: Record<string, string>) {
  const service = await startService(t, { settings, clerk: { authorizedParty: PARTY } })
  const session = service.clerk.signIn(service.clerk.createUser().id)
  return { ...service, token: (more?: TokenOverrides) => service.clerk.sessionToken(session.id, more) }
}

async function assertCode(t: Test, { call }: Service, headers: Record<string, string>, code: string | undefined) {
  const { status, body } = await call('/api/auth/profile', { headers })
  t.strictSame([status, body.code], [code ? 401 : 200, code])
}

test('without authorized parties the cookie is ignored', async (t) => {
  const service = await startSignedIn(t, {})
  await assertCode(t, service, { cookie: `__session=${service.token()}` }, 'MISSING_TOKEN')
})

test('with authorized parties the cookie is as good as a bearer token', async (t) => {
  const service = await startSignedIn(t, parties)
  const { token } = service
  await assertCode(t, service, { cookie: `__session=${token()}` }, undefined)
  await assertCode(t, service, { cookie: `theme=dark; __client_uat=1;__session=${token()}; x` }, undefined)
  await assertCode(t, service, { cookie: `__session="${token()}"` }, 'INVALID_TOKEN')
  await assertCode(t, service, { cookie: `__session=${token({ expiresInSeconds: -60 })}` }, 'TOKEN_EXPIRED')
  await assertCode(
    t,
    service,
    { cookie: `__session=${token({ claims: { azp: 'https://evil.example' } })}` },
    'INVALID_TOKEN',
  )
  await assertCode(t, service, { cookie: `__session=${'x'.repeat(20_000)}` }, 'INVALID_TOKEN')
  await assertCode(t, service, { cookie: '__session=%E0%A4%A' }, 'INVALID_TOKEN')
  await assertCode(t, service, { cookie: '__session=' }, 'MISSING_TOKEN')
  await assertCode(t, service, { cookie: `__sessions=${token()}; x__session=${token()}` }, 'MISSING_TOKEN')
  await assertCode(t, service, { cookie: 'theme=dark' }, 'MISSING_TOKEN')
})

test('the header takes precedence over the cookie, valid or not; with other schemes the cookie is used', async (t) => {
  const service = await startSignedIn(t, parties)
  const { token } = service
  const cookie = `__session=${token()}`
  await assertCode(t, service, { authorization: `Bearer ${token()}`, cookie: '__session=bad' }, undefined)
  await assertCode(t, service, { authorization: `Bearer ${token({ expiresInSeconds: -60 })}`, cookie }, 'TOKEN_EXPIRED')
  await assertCode(t, service, { authorization: 'Bearer bad', cookie }, 'INVALID_TOKEN')
  await assertCode(t, service, { authorization: 'Basic dXNlcjpwYXNz', cookie }, undefined)
  await assertCode(t, service, { authorization: 'Bearer', cookie }, undefined)
})

test('cookies for different users are refused', async (t) => {
  const service = await startSignedIn(t, parties)
  const other = service.token({ claims: { sub: 'user_2other' } })
  for (const cookie of [
    `__session=${service.token()}; __session=${other}`,
    `__session=${other};a=b;__session =${service.token()}`,
  ]) {
    const { status, body } = await service.call('/api/auth/profile', { headers: { cookie } })
    t.match([status, body.code, body.message], [401, 'INVALID_TOKEN', /different users/])
  }
  await assertCode(t, service, { cookie: `__session=x`, authorization: `Bearer ${service.token()}` }, undefined)
})

test('unreadable copies of a cookie are ignored', async (t) => {
  const service = await startSignedIn(t, parties)
  const { token } = service
  const good = token()
  const expired = token({ expiresInSeconds: -60, claims: { sub: 'user_2other' } })
  const foreign = token({ claims: { iss: 'https://clerk.other.example', sub: 'user_2other' } })
  const others = {
    identical: good,
    empty: '',
    expired,
    foreign,
    unreadable: 'x',
    'no claims': 'a.bnVsbA.c',
    'a number': 'a.MQ.c',
    'far too long': `a.${'x'.repeat(17_000)}.c`,
    twice: token(),
  }
  for (const [name, other] of Object.entries(others)) {
    await t.test(name, async (t) => {
      await assertCode(t, service, { cookie: `__session=${good}; __session=${other}` }, undefined)
      await assertCode(t, service, { cookie: `__session=${other}; __session=${good}` }, undefined)
    })
  }
  const forged = `${good.split('.').slice(0, 2).join('.')}.${token().split('.')[2]}`
  await assertCode(t, service, { cookie: `__session=${forged}; __session=${good}` }, undefined)
  await assertCode(t, service, { cookie: `__session=${expired}; __session=${foreign}` }, 'TOKEN_EXPIRED')
  await assertCode(t, service, { cookie: `__session=${foreign}; __session=` }, 'INVALID_TOKEN')
})

test('a failure of the service is not blamed on a copy of the cookie', async (t) => {
  const service = await startSignedIn(t, parties)
  service.clerk.rotateKeys()
  service.clerk.faults.jwks = 'error'
  const { status, body } = await service.call('/api/auth/profile', {
    headers: { cookie: `__session=${service.token()}; __session=${service.token()}` },
  })
  t.strictSame([status, body.code], [503, 'JWKS_UNAVAILABLE'])
})

test("with the publishable key, this instance's own cookie takes precedence", async (t) => {
  const key = `pk_test_${Buffer.from('clerk.example.com$').toString('base64')}`
  const name = suffixedCookie(key)
  const service = await startSignedIn(t, { ...parties, CLERK_PUBLISHABLE_KEY: key })
  const { token } = service
  const foreign = token({ claims: { iss: 'https://clerk.other.example' } })
  const other = token({ claims: { sub: 'user_2other' } })
  await assertCode(t, service, { cookie: `${name}=${token()}` }, undefined)
  await assertCode(t, service, { cookie: `__session=${foreign}; ${name}=${token()}` }, undefined)
  await assertCode(t, service, { cookie: `__session=${other}; ${name}=${token()}` }, undefined)
  await assertCode(t, service, { cookie: `__session=${token()}; ${name}=${foreign}` }, undefined)
  await assertCode(
    t,
    service,
    { cookie: `${name}=${token({ expiresInSeconds: -60 })}; __session=${token()}` },
    undefined,
  )
  await assertCode(
    t,
    service,
    { cookie: `${name}=${token({ expiresInSeconds: -60 })}; __session=${foreign}` },
    'TOKEN_EXPIRED',
  )
  await assertCode(t, service, { cookie: `__session_other123=${token()}` }, 'MISSING_TOKEN')
  const without = await startSignedIn(t, parties)
  await assertCode(t, without, { cookie: `${name}=${without.token()}` }, 'MISSING_TOKEN')
})

test("the suffix is that of Clerk's own SDK", async (t) => {
  const key = 'pk_test_Y2xlcmsuZXhhbXBsZS5jb20k'
  t.equal(suffixedCookie(key), `__session_${await getCookieSuffix(key)}`)
  t.match(suffixedCookie(key), /^__session_[\w-]{8}$/)
})

test('azp is always required in a cookie, even for a token that was accepted as a bearer token', async (t) => {
  const service = await startSignedIn(t, { ...parties, CLERK_AZP_OPTIONAL: 'true' })
  const token = service.token({ omit: ['azp'] })
  await assertCode(t, service, { authorization: `Bearer ${token}` }, undefined)
  await assertCode(t, service, { cookie: `__session=${token}` }, 'INVALID_TOKEN')
  await assertCode(t, service, { cookie: `__session=${service.token()}` }, undefined)
})
