import { test } from 'tap'
import { createSessionSync } from '../../packages/client/src/index.ts'
import { BASE, hostile, type Step, tokenOf } from './hostile.ts'

const EXPIRED: Step = { status: 401, code: 'TOKEN_EXPIRED' }
const INVALID: Step = { status: 401, code: 'INVALID_TOKEN' }
const UNSYNCED: Step = { status: 401, code: 'USER_NOT_SYNCED' }
const DOWN: Step = { status: 503, code: 'DATABASE_UNAVAILABLE', retryAfter: '2' }
const OK: Step = { status: 200 }
const PATH = '/api/auth/profile'

test('the token goes to the origin of baseUrl alone', async (t) => {
  const { api, sent, asked } = hostile([])
  await api.fetch('https://evil.example/api', { headers: { 'x-own': '1' } })
  await api.fetch(new URL('https://api.example.com.evil.example/'))
  t.strictSame([sent.map(({ token }) => token), asked], [[null, null], []])
  await api.fetch('/orders')
  await api.fetch(`${BASE}/orders`)
  t.match(sent.slice(2), [
    { url: `${BASE}/orders`, token: /^Bearer x\./ },
    { url: `${BASE}/orders`, token: /^Bearer x\./ },
  ])
})

for (const refusal of [EXPIRED, INVALID]) {
  test(`${JSON.stringify(refusal)}: one fresh token, one retry`, async (t) => {
    const { api, asked } = hostile([refusal, OK])
    t.equal((await api.profile()).id, 'user_1')
    t.strictSame(asked, [false, true])
    const second = hostile([refusal, refusal, OK])
    t.equal((await second.api.fetch(PATH)).status, 401, 'a second refusal is returned')
    t.equal(second.sent.length, 2)
  })
}

test('callers who are not synced share one sync', async (t) => {
  const { api, sent } = hostile([UNSYNCED, UNSYNCED, OK, OK, OK])
  await Promise.all([api.fetch('/a'), api.fetch('/b')])
  t.strictSame(
    sent.map(({ method, url }) => `${method} ${url.slice(BASE.length)}`),
    ['GET /a', 'GET /b', 'POST /api/auth/sync-user', 'GET /a', 'GET /b'],
  )
  await Promise.all([api.syncUser(), api.syncUser()])
  t.equal(sent.length, 6)
  await api.syncUser()
  t.equal(sent.length, 7, 'a later one is new')
})

test('a sync that is refused as unsynced does not sync again', async (t) => {
  const { api, sent } = hostile(Array(9).fill(UNSYNCED))
  await t.rejects(api.syncUser(), { status: 401, code: 'USER_NOT_SYNCED' })
  t.equal(sent.length, 1)
})

for (const [status, code] of [
  [401, 'SESSION_REVOKED'],
  [403, 'USER_DELETED'],
  [403, 'USER_BANNED'],
  [403, 'USER_DEPROVISIONED'],
] as const) {
  test(`${code}: onSignedOut once, and no further request of that session`, async (t) => {
    const { api, sent, over } = hostile(Array(9).fill({ status, code }))
    await Promise.all([api.fetch('/a'), api.fetch('/b')])
    await t.rejects(api.profile(), { name: 'SessionSyncError', status, code })
    t.strictSame(over, [{ reason: code, sessionId: 'sess_1', userId: 'user_1' }])
    t.equal(sent.length, 2)
  })
}

test('another session is a new beginning', async (t) => {
  let sid = 'sess_1'
  const getToken = () => tokenOf(sid, 0)
  const { api, over } = hostile([{ status: 401, code: 'SESSION_REVOKED' }, OK], { getToken })
  await api.fetch(PATH)
  sid = 'sess_2'
  t.equal((await api.profile()).id, 'user_1')
  t.match(over, [{ reason: 'SESSION_REVOKED' }])
})

test('without onSignedOut, and with tokens that nobody can read, it works the same', async (t) => {
  const options = { getToken: () => 'opaque', onSignedOut: undefined }
  const { api, sent } = hostile([{ status: 403, code: 'USER_BANNED' }], options)
  await api.fetch(PATH)
  await t.rejects(api.profile(), { code: 'USER_BANNED' })
  t.equal(sent.length, 1)
})

for (const code of [
  'SESSION_PENDING',
  'MEMBERSHIP_ENDED',
  'FORBIDDEN',
  'REVERIFICATION_REQUIRED',
  'CROSS_SITE_REQUEST',
]) {
  test(`403 ${code} is the caller’s to show: no retry, and the session goes on`, async (t) => {
    const { api, sent, over } = hostile(Array(9).fill({ status: 403, code }))
    await t.rejects(api.syncUser(), { status: 403, code, message: code, requestId: 'req-1' })
    for (let call = 0; call < 6; call++) t.equal((await api.fetch(PATH)).status, 403)
    t.equal(sent.length, 7)
    t.strictSame(over, [])
  })
}

test('503: Retry-After, else a back-off that grows, three times', async (t) => {
  const first = hostile([DOWN, { status: 503 }, 'network', OK])
  await first.api.profile()
  t.strictSame(first.waits, [2125, 1000, 2000])
  const second = hostile(Array(9).fill('network'))
  await t.rejects(second.api.fetch(PATH), { message: 'fetch failed' })
  t.equal(second.sent.length, 4)
  const third = hostile(Array(9).fill(DOWN))
  t.equal((await third.api.fetch(PATH)).status, 503)
  t.equal(third.sent.length, 4)
})

test('Retry-After may be a date; what is too far off is not waited for', async (t) => {
  const { api, waits } = hostile([{ status: 429, retryAfter: new Date(3000).toUTCString() }, OK])
  await api.fetch(PATH)
  t.strictSame(waits, [3125])
  const late = hostile([{ status: 503, retryAfter: '3600' }])
  t.equal((await late.api.fetch(PATH)).status, 503)
  t.strictSame(late.waits, [])
})

test('what may have been done already is repeated only where the server asks for it', async (t) => {
  for (const step of ['network', { status: 503 }, { status: 504, code: 'HTML' }] as Step[]) {
    const { api, sent } = hostile([step, OK])
    await api.fetch('/orders', { method: 'POST', body: '{}' }).catch(() => {})
    t.equal(sent.length, 1, JSON.stringify(step))
  }
  const { api, sent } = hostile([DOWN, OK])
  await api.fetch('/orders', { method: 'PATCH', body: '{}' })
  t.equal(sent.length, 2)
})

test('a body that is a stream is sent once', async (t) => {
  const stream = () => new Response('x').body as ReadableStream
  async function* generator() {
    yield new Uint8Array(1)
  }
  const bodies = [stream(), generator()] as unknown as string[]
  for (const refusal of [EXPIRED, UNSYNCED, DOWN]) {
    for (const body of bodies) {
      const { api, sent } = hostile([refusal, OK])
      await api.fetch('/orders', { method: 'PUT', body, duplex: 'half' } as RequestInit)
      t.equal(sent.length, 1)
    }
  }
  for (const body of ['x', new Uint8Array(1), new Blob(['x']), new URLSearchParams('a=b'), new FormData()]) {
    const { api, sent } = hostile([EXPIRED, OK])
    await api.fetch('/orders', { method: 'POST', body })
    t.strictSame(
      sent.map((request) => request.body),
      [body, body],
    )
  }
})

test('a Request without a body keeps its headers and is repeated', async (t) => {
  const { api, sent } = hostile([EXPIRED, OK])
  await api.fetch(new Request(`${BASE}/orders`, { headers: { authorization: 'mine' } }))
  t.match(sent, [{ token: /^Bearer/ }, { token: /^Bearer/ }])
  const head = hostile([EXPIRED, OK])
  await head.api.fetch(new Request(`${BASE}/orders`, { method: 'HEAD' }))
  t.equal(head.sent.length, 2)
})

test('nobody signed in is no request', async (t) => {
  for (const nobody of [null, undefined, '']) {
    const { api, sent } = hostile([], { getToken: async () => nobody })
    await t.rejects(api.syncUser(), { status: 0, code: 'SIGNED_OUT' })
    t.equal(sent.length, 0)
  }
})

test('an abort ends the wait for a token, a sync, an answer and a retry', async (t) => {
  const never = new Promise<string>(() => {})
  for (const [what, steps, options] of [
    ['a token', [], { getToken: () => never }],
    ['an answer', ['silence'], {}],
    ['a retry', [{ status: 503, retryAfter: '20' }], {}],
    ['a sync', [UNSYNCED, 'silence'], {}],
  ] as const) {
    const controller = new AbortController()
    const { api, sent } = hostile(steps, options)
    const call = api.fetch(PATH, { signal: controller.signal })
    await new Promise(setImmediate)
    controller.abort(new Error('enough'))
    await t.rejects(call, { message: 'enough' }, what)
    t.equal(sent.length, steps.length, `${what}: nothing more is sent`)
  }
  for (const ask of ['syncUser', 'profile'] as const) {
    const controller = new AbortController()
    const { api } = hostile(['silence'])
    const call = api[ask]({ signal: controller.signal })
    controller.abort()
    await t.rejects(call as Promise<unknown>, { name: 'AbortError' }, ask)
  }
  const { api, sent } = hostile([])
  await t.rejects(api.fetch(PATH, { signal: AbortSignal.abort() }), { name: 'AbortError' })
  await t.rejects(api.fetch(new Request(BASE + PATH, { signal: AbortSignal.abort() })), { name: 'AbortError' })
  t.equal(sent.length, 0, 'aborted before')
})

test('the signal of one caller does not end the sync of the others', async (t) => {
  const controller = new AbortController()
  const { api, sent } = hostile([{ status: 503, retryAfter: '1' }, OK])
  const given = api.syncUser({ signal: controller.signal })
  const other = api.syncUser()
  await new Promise(setImmediate)
  controller.abort()
  await t.rejects(given, { name: 'AbortError' })
  t.match(await other, { user: { id: 'user_1' } })
  t.equal(sent.length, 2)
})

test('a signal without a reason, as in React Native, aborts too', async (t) => {
  const signal = Object.assign(new EventTarget(), { aborted: true, reason: undefined }) as AbortSignal
  const { api } = hostile([])
  await t.rejects(api.fetch(PATH, { signal }), { code: 'ABORTED' })
})

test('the loop breaker opens after five refusals, says why, and lets one through after 30 s', async (t) => {
  const said: string[] = []
  const { error } = console
  console.error = (text: string) => said.push(text)
  t.teardown(() => {
    console.error = error
  })
  const { api, sent, clock } = hostile(Array(99).fill(INVALID))
  for (let call = 0; call < 5; call++) await api.fetch(PATH)
  t.equal(sent.length, 10)
  t.match(said, ['LOOP_BROKEN'])
  for (let call = 0; call < 50; call++) await t.rejects(api.fetch(PATH), { status: 0, code: 'LOOP_BROKEN' })
  t.equal(sent.length, 10, 'nothing is sent')
  clock.now += 30_000
  t.equal((await api.fetch(PATH)).status, 401)
  await t.rejects(api.fetch(PATH), { code: 'LOOP_BROKEN' })
  t.equal(said.length, 2)
})

test('an answer that is no 401 closes the breaker', async (t) => {
  const missing: Step = { status: 401, code: 'MISSING_TOKEN' }
  const { api, sent } = hostile([...Array(4).fill(missing), OK, ...Array(4).fill(missing), OK])
  for (let call = 0; call < 10; call++) await api.fetch(PATH)
  t.equal(sent.length, 10)
})

test('bodies that are no JSON, or no object, have no code', async (t) => {
  const { api } = hostile([{ status: 500, code: 'HTML' }])
  await t.rejects(api.profile(), { status: 500, code: 'UNKNOWN', message: 'HTTP 500' })
  const fetch = (async () => Response.json(null, { status: 404 })) as typeof globalThis.fetch
  const odd = createSessionSync({ baseUrl: BASE, getToken: () => 'x', fetch })
  const answer = await odd.fetch(PATH)
  t.equal(await answer.json(), null, 'the answer can still be read')
})

test('the platform’s fetch, clock and timers are the default', async (t) => {
  const { fetch } = globalThis
  t.teardown(() => {
    globalThis.fetch = fetch
  })
  const answers = [
    Response.json({}, { status: 503, headers: { 'retry-after': '0' } }),
    Response.json({ user: { id: 'u' } }),
  ]
  const api = createSessionSync({ baseUrl: BASE, getToken: () => 'x' })
  globalThis.fetch = async () => answers.shift() as Response
  t.strictSame(await api.profile(), { id: 'u' })
})
