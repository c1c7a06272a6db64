import { type Test, test } from 'tap'
import { type CallOptions, type Service, startService } from '../helpers/service.ts'

async function startLimited(t: Test, settings: Record<string, string> = {}, beside?: Service) {
  const limit = { RATE_LIMIT_PER_MINUTE: '3' }
  const service = await startService(t, { settings: { ...limit, ...settings }, hasSecretKey: false, beside })
  const { clerk } = service
  return { ...service, signIn: (userId = clerk.createUser().id) => clerk.sessionToken(clerk.signIn(userId).id) }
}

async function statuses(
  { call }: Pick<Service, 'call'>,
  count: number,
  options: CallOptions,
  path = '/api/auth/profile',
) {
  const answers: number[] = []
  for (let i = 0; i < count; i += 1) answers.push((await call(path, options)).status)
  return answers
}

const from = (address: string): CallOptions => ({ headers: { 'x-forwarded-for': address } })

test('there is no limit unless it is set', async (t) => {
  const service = await startService(t)
  t.strictSame(await statuses(service, 20, {}), Array(20).fill(401))
})

test('good tokens count by user, whichever session and route; everything else by address', async (t) => {
  const service = await startLimited(t)
  const { clerk, call, signIn } = service
  const user = clerk.createUser()
  t.strictSame(await statuses(service, 2, { token: signIn(user.id) }), [200, 200])
  t.equal((await call('/api/auth/verify', { token: signIn(user.id) })).status, 200)
  t.equal((await call('/api/auth/verify', { token: signIn(user.id) })).status, 429)
  t.equal((await call('/api/auth/sync-user', { method: 'POST', token: signIn(user.id) })).status, 429)

  t.strictSame(await statuses(service, 4, { token: signIn() }), [200, 200, 200, 429], 'another user, the same address')
  const forged = `${signIn(user.id).slice(0, -8)}AAAAAAAA`
  t.equal((await call('/api/auth/profile', { token: forged })).status, 401, 'a bad token does not count for its user')
  t.equal((await call('/api/auth/verify')).status, 401)
  t.equal((await call('/nowhere')).status, 404)
  t.strictSame(await statuses(service, 2, {}), [429, 429], 'nobody may try tokens without end')
  t.equal((await call('/api/auth/profile', { token: forged })).status, 429)
  t.equal((await call('/api/auth/profile', { token: signIn() })).status, 200, 'users behind that address go on')
})

test('requests beyond the limit get a regular error with the time to wait', async (t) => {
  const { call } = await startLimited(t, { RATE_LIMIT_PER_MINUTE: '1' })
  await call('/api/auth/profile')
  const { status, body, headers } = await call('/api/auth/profile')
  t.match({ status, ...body }, { status: 429, statusCode: 429, code: 'RATE_LIMITED', error: 'Too Many Requests' })
  t.strictSame(Object.keys(body), ['statusCode', 'code', 'error', 'message', 'requestId'])
  t.match(body.message, /^Too many requests, try again in \d+ \w+$/)
  const seconds = Number(headers.get('retry-after'))
  t.ok(seconds >= 1 && seconds <= 60)
  t.equal(headers.get('www-authenticate'), null)
})

test('webhooks and probes have no limit', async (t) => {
  const service = await startLimited(t, { RATE_LIMIT_PER_MINUTE: '1' })
  const { clerk, call } = service
  await call('/api/auth/profile')
  t.equal((await call('/api/auth/profile')).status, 429)
  for (const path of ['/livez', '/readyz', '/api/auth/health']) {
    t.strictSame(await statuses(service, 5, {}, path), Array(5).fill(200), path)
  }
  for (let i = 0; i < 5; i += 1) clerk.createUser()
  await clerk.webhooks.idle()
  t.strictSame(
    clerk.webhooks.deliveries.map(({ state, attempts }) => [state, attempts.length]),
    Array(5).fill(['delivered', 1]),
  )
  t.strictSame(await statuses(service, 3, { method: 'POST' }, '/clerk'), [400, 400, 400])
})

test('X-Forwarded-For is used only from trusted proxies', async (t) => {
  const cases: [trust: string, header: (client: string) => string, believes: boolean][] = [
    ['false', (client) => client, false],
    ['true', (client) => client, true],
    ['1', (client) => client, true],
    ['1', (client) => `${client}, 192.0.2.1`, false],
    ['2', (client) => `${client}, 192.0.2.1`, true],
    ['127.0.0.1', (client) => client, true],
    ['loopback', (client) => client, true],
    ['192.0.2.0/24', (client) => client, false],
    ['127.0.0.1, 192.0.2.0/24', (client) => `${client}, 192.0.2.1`, true],
  ]
  const first = await startLimited(t)
  for (const [trust, header, believes] of cases) {
    await t.test(`TRUST_PROXY=${trust}, ${header('client')}`, async (t) => {
      const service = await startLimited(t, { TRUST_PROXY: trust, RATE_LIMIT_PER_MINUTE: '2' }, first)
      t.strictSame(await statuses(service, 3, from(header('198.51.100.1'))), [401, 401, 429])
      t.strictSame(await statuses(service, 1, from(header('198.51.100.2'))), [believes ? 401 : 429])
    })
  }
})

test('a forwarded address is used only if it is valid, and never as a user', async (t) => {
  const service = await startLimited(t, { TRUST_PROXY: '1', RATE_LIMIT_PER_MINUTE: '5' })
  const { clerk, call, signIn } = service
  const victim = clerk.createUser()
  const names = [victim.id, `user:${victim.id}`, `address:${victim.id}`, 'localhost', '1.2.3', '']
  const refused: number[] = []
  for (let i = 0; i < 42; i += 1)
    refused.push((await call('/api/auth/profile', from(names[i % names.length] ?? ''))).status)
  t.strictSame(refused.slice(0, 5), Array(5).fill(401))
  t.strictSame(refused.slice(5), Array(37).fill(429), 'whatever the name, they count together, by the connection')
  t.strictSame(
    await statuses(service, 5, { token: signIn(victim.id), ...from('198.51.100.1') }),
    Array(5).fill(200),
    'the user whose id it was has lost nothing',
  )
  t.strictSame(await statuses(service, 1, from('198.51.100.1')), [401], 'nor has a real address')
})

test('an IPv6 client is counted by its network, because it owns every address of it', async (t) => {
  const service = await startLimited(t, { TRUST_PROXY: 'true' })
  t.strictSame(await statuses(service, 1, from('2001:db8:0:1::1')), [401])
  t.strictSame(await statuses(service, 3, from('2001:db8:0:1:ffff::2')), [401, 401, 429])
  t.strictSame(await statuses(service, 1, from('2001:db8:0:2::1')), [401])
  t.strictSame(await statuses(service, 3, from('198.51.100.7')), [401, 401, 401])
  t.strictSame(
    await statuses(service, 1, from('::ffff:198.51.100.7')),
    [429],
    'an IPv4 address in the form of an IPv6 one',
  )
})
