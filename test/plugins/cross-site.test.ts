import { type Test, test } from 'tap'
import { type Service, startService } from '../helpers/service.ts'

const PARTY = 'https://app.example.com'
const OTHER_SITE = 'https://evil.example'
const SETTINGS = { CLERK_AUTHORIZED_PARTIES: PARTY, CORS_ORIGINS: 'https://admin.example.com' }

async function startSignedIn(t: Test, settings: Record<string, string> = SETTINGS) {
  const service = await startService(t, { settings, clerk: { authorizedParty: PARTY } })
  const user = service.clerk.createUser()
  const token = service.clerk.sessionToken(service.clerk.signIn(user.id).id)
  await service.clerk.webhooks.idle()
  return { ...service, user, token, cookie: `__session=${token}` }
}

async function ask({ call }: Pick<Service, 'call'>, path: string, method: string, headers: Record<string, string>) {
  const { status, body } = await call(path, { method, headers })
  return [status, body.code]
}
const REFUSED = [403, 'CROSS_SITE_REQUEST']

test('another site cannot make a browser change anything with its cookie', async (t) => {
  const service = await startSignedIn(t)
  const { cookie, url } = service
  const sync = (headers: Record<string, string>) => ask(service, '/api/auth/sync-user', 'POST', { cookie, ...headers })
  const calls = service.clerk.stats.apiRequests
  t.strictSame(await sync({ origin: OTHER_SITE }), REFUSED)
  t.strictSame(await sync({ origin: 'null' }), REFUSED)
  t.strictSame(await sync({ 'sec-fetch-site': 'cross-site' }), REFUSED)
  t.equal(service.clerk.stats.apiRequests, calls, 'nothing was done')
  for (const origin of [PARTY, 'https://admin.example.com', url, url.replace('http:', 'https:')]) {
    t.strictSame(await sync({ origin, 'sec-fetch-site': 'cross-site' }), [200, undefined], origin)
  }
  t.strictSame(await sync({}), [200, undefined], 'no browser sent it')
  t.strictSame(await ask(service, '/api/auth/profile', 'GET', { cookie, origin: OTHER_SITE }), [200, undefined])
})

test('a bearer token is accepted from any site, and a bad cookie is a bad token', async (t) => {
  const service = await startSignedIn(t)
  const { token } = service
  const sync = (headers: Record<string, string>) =>
    ask(service, '/api/auth/sync-user', 'POST', { origin: OTHER_SITE, ...headers })
  t.strictSame(await sync({ authorization: `Bearer ${token}` }), [200, undefined])
  t.strictSame(await sync({ cookie: '__session=x' }), [401, 'INVALID_TOKEN'])
  t.strictSame(await sync({}), [401, 'MISSING_TOKEN'])
})

test('* in CORS_ORIGINS allows no site to send cookies', async (t) => {
  const service = await startSignedIn(t, { ...SETTINGS, CORS_ORIGINS: '*' })
  const { cookie } = service
  t.strictSame(await ask(service, '/api/auth/sync-user', 'POST', { cookie, origin: OTHER_SITE }), REFUSED)
})

test("on verify, and only there, the method is taken from the proxy's header", async (t) => {
  const service = await startSignedIn(t)
  const { cookie } = service
  const verify = (method: string, headers: Record<string, string>, path = '') =>
    ask(service, `/api/auth/verify${path}`, method, { cookie, origin: OTHER_SITE, ...headers })
  for (const path of ['', '/deep/er']) {
    t.strictSame(await verify('GET', { 'x-forwarded-method': 'DELETE' }, path), REFUSED)
    t.strictSame(await verify('POST', {}, path), REFUSED)
    t.strictSame(await verify('GET', {}, path), [200, undefined])
    t.strictSame(await verify('POST', { 'x-forwarded-method': 'GET' }, path), [200, undefined])
    t.strictSame(await verify('GET', { 'x-forwarded-method': 'DELETE', origin: PARTY }, path), [200, undefined])
  }
  const headers = { cookie, origin: OTHER_SITE, 'x-forwarded-method': 'GET' }
  t.strictSame(await ask(service, '/api/auth/sync-user', 'POST', headers), REFUSED)
})

test('the host comes from a trusted proxy', async (t) => {
  const own = { origin: 'https://api.example.com', 'x-forwarded-host': 'api.example.com' }
  for (const [trust, expected] of [
    ['loopback', [200, undefined]],
    ['false', REFUSED],
  ] as const) {
    const service = await startSignedIn(t, { ...SETTINGS, TRUST_PROXY: trust })
    const headers = { cookie: service.cookie, ...own }
    t.strictSame(await ask(service, '/api/auth/sync-user', 'POST', headers), expected, trust)
  }
})
