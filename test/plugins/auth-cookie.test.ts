import { type Test, test } from 'tap'
import type { TokenOverrides } from '../../src/emulator/index.ts'
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

test('without authorized parties the cookie is not looked at', async (t) => {
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

test('the header goes before the cookie, be it good or bad; other schemes leave the cookie in force', async (t) => {
  const service = await startSignedIn(t, parties)
  const { token } = service
  const cookie = `__session=${token()}`
  await assertCode(t, service, { authorization: `Bearer ${token()}`, cookie: '__session=bad' }, undefined)
  await assertCode(t, service, { authorization: `Bearer ${token({ expiresInSeconds: -60 })}`, cookie }, 'TOKEN_EXPIRED')
  await assertCode(t, service, { authorization: 'Bearer bad', cookie }, 'INVALID_TOKEN')
  await assertCode(t, service, { authorization: 'Basic dXNlcjpwYXNz', cookie }, undefined)
  await assertCode(t, service, { authorization: 'Bearer', cookie }, undefined)
})

test('two session cookies are refused: which of them counts is up to whoever set the other', async (t) => {
  const service = await startSignedIn(t, parties)
  const [one, other] = [service.token(), service.token({ claims: { jti: 'other' } })]
  await assertCode(t, service, { cookie: `__session=${one}; __session=${other}` }, 'INVALID_TOKEN')
  await assertCode(t, service, { cookie: `__session=${one};a=b;__session =x` }, 'INVALID_TOKEN')
  await assertCode(t, service, { cookie: `__session=x`, authorization: `Bearer ${one}` }, undefined)
})

test('an optional azp is never so for a cookie, not even for a token that passed as a bearer', async (t) => {
  const service = await startSignedIn(t, { ...parties, CLERK_AZP_OPTIONAL: 'true' })
  const token = service.token({ omit: ['azp'] })
  await assertCode(t, service, { authorization: `Bearer ${token}` }, undefined)
  await assertCode(t, service, { cookie: `__session=${token}` }, 'INVALID_TOKEN')
  await assertCode(t, service, { cookie: `__session=${service.token()}` }, undefined)
})
