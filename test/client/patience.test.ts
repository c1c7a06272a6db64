/** Servers, applications and platforms that do not do what they should: every call ends, and nobody is blamed wrongly. */
import { test } from 'tap'
import { createSessionSync } from '../../packages/client/src/index.ts'
import { answer, BASE, hostile, refusal, type Step, tokenOf, virtualClock } from './hostile.ts'

const OK: Step = { status: 200 }
const EXPIRED: Step = { status: 401, code: 'TOKEN_EXPIRED' }
const APP: Step = { status: 401, code: 'APP' }

test('a server that never answers ends in TIMEOUT, and holds back no later call', async (t) => {
  const { api, sent, clock } = hostile([...Array(4).fill('silence'), OK])
  await t.rejects(api.syncUser(), { status: 0, code: 'TIMEOUT' })
  t.equal(sent.length, 4)
  t.ok(clock.now >= 40_000 && clock.now < 50_000, `${clock.now} ms`)
  t.match(await api.syncUser(), { user: { id: 'user_1' } })
})

test('the deadline is a setting, and a token has one too', async (t) => {
  const { api, clock } = hostile(['silence'], { timeoutMs: 2_000 })
  await t.rejects(api.fetch('/a', { method: 'POST', body: 'x' }), { code: 'TIMEOUT' })
  t.equal(clock.now, 2_000)
  const without = hostile([], { getToken: () => new Promise<string>(() => {}) })
  await t.rejects(without.api.syncUser(), { code: 'TIMEOUT' })
})

test('a body that never ends does not keep a call pending', async (t) => {
  const { seams } = virtualClock()
  const endless = (status: number) => {
    const head = new TextEncoder().encode('{"statusCode":')
    const body = new ReadableStream({ start: (controller) => controller.enqueue(head) })
    return new Response(body, { status, headers: { 'content-type': 'application/json' } })
  }
  for (const [status, expected] of [
    [401, { status: 401, code: 'UNKNOWN' }],
    [500, { code: 'TIMEOUT' }],
    [200, { code: 'TIMEOUT' }],
  ] as const) {
    const fetch = (async () => endless(status)) as unknown as typeof globalThis.fetch
    const api = createSessionSync({ baseUrl: BASE, getToken: () => tokenOf('sess_1', 0), fetch }, seams)
    await t.rejects(api.syncUser(), status === 401 ? { code: 'TIMEOUT' } : expected, `${status}`)
    t.equal((await api.fetch('/a')).status, status)
  }
})

test('an answer that came in time may be read for as long as it takes, and the caller’s signal ends it', async (t) => {
  const { clock, seams } = virtualClock()
  let given: AbortSignal | undefined
  const fetch = (async (_input: string, init: RequestInit) => {
    given = init.signal as AbortSignal
    return new Response('x')
  }) as typeof globalThis.fetch
  const api = createSessionSync({ baseUrl: BASE, getToken: () => tokenOf('sess_1', 0), fetch }, seams)
  const controller = new AbortController()
  await api.fetch('/download', { signal: controller.signal })
  await new Promise((resolve) => seams.setTimeout(() => resolve(undefined), 60_000))
  t.equal(clock.now, 60_000)
  t.equal(given?.aborted, false, 'no deadline')
  controller.abort()
  t.equal(given?.aborted, true)
})

test('an application’s own 401 and 403 open no breaker, and their bodies stay unread', async (t) => {
  for (const step of [APP, { status: 403, code: 'APP' }, { status: 401, code: 'HTML' }]) {
    const { api, sent } = hostile(Array(20).fill(step))
    for (let call = 0; call < 20; call++) t.equal((await api.fetch('/pin')).bodyUsed, false)
    t.equal(sent.length, 20, 'each is sent once')
  }
})

test('an error of another shape is no refusal, though its code is the same', async (t) => {
  for (const body of [
    { code: 'SESSION_REVOKED' },
    { ...refusal(401, 'SESSION_REVOKED'), statusCode: 400 },
    { ...refusal(401, 'SESSION_REVOKED'), requestId: undefined },
    null,
  ]) {
    let told = 0
    const fetch = (async () => Response.json(body, { status: 401 })) as unknown as typeof globalThis.fetch
    const api = createSessionSync({ baseUrl: BASE, getToken: () => tokenOf('s', 0), fetch, onSignedOut: () => told++ })
    await api.fetch('/a')
    t.equal((await api.fetch('/a')).status, 401)
    t.equal(told, 0)
  }
})

test('a refusal by a proxy is known by its header, without the body', async (t) => {
  const answers = [
    new Response('<html>', { status: 401, headers: { 'x-auth-request-error': 'TOKEN_EXPIRED' } }),
    new Response('fine'),
  ]
  const fetch = (async () => answers.shift() as Response) as unknown as typeof globalThis.fetch
  const api = createSessionSync({ baseUrl: BASE, getToken: () => tokenOf('s', 0), fetch })
  t.equal(await (await api.fetch('/a')).text(), 'fine')
})

test('a Request with a body is sent again from a copy', async (t) => {
  for (const step of [EXPIRED, { status: 401, code: 'USER_NOT_SYNCED' }, { status: 503, retryAfter: '1' }]) {
    const steps = step.code === 'USER_NOT_SYNCED' ? [step, OK, OK] : [step, OK]
    const { api, sent } = hostile(steps)
    const answered = await api.fetch(new Request(`${BASE}/orders`, { method: 'POST', body: 'x' }))
    t.equal(answered.status, 200)
    t.strictSame(
      sent.filter(({ url }) => url.endsWith('/orders')).map(({ body }) => body),
      ['x', 'x'],
    )
  }
})

test('a Request that cannot be sent again is passed back without counting against the token', async (t) => {
  const { api, sent } = hostile(Array(20).fill(EXPIRED))
  const stream = () => new Response('x').body as ReadableStream
  for (let call = 0; call < 10; call++) {
    const init = { method: 'POST', body: stream(), duplex: 'half' } as RequestInit
    t.equal((await api.fetch('/upload', init)).status, 401)
  }
  t.equal(sent.length, 10)
  const used = new Request(`${BASE}/orders`, { method: 'POST', body: 'x' })
  await used.text()
  await t.rejects(api.fetch(used), TypeError)
})

test('baseUrl may have a path, a slash at its end, or capital letters', async (t) => {
  for (const baseUrl of ['https://x.example/auth-service', 'https://X.example:443/auth-service/']) {
    const { api, sent } = hostile([], { baseUrl })
    await api.profile()
    await api.fetch('orders')
    await api.fetch('https://x.example/elsewhere')
    t.strictSame(
      sent.map(({ url }) => url),
      ['/auth-service/api/auth/profile', '/auth-service/orders', '/elsewhere'].map(
        (path) => `https://x.example${path}`,
      ),
    )
    for (const { token } of sent) t.match(token, /^Bearer /)
  }
})

test('whatever is asked for, the token stays at its origin', async (t) => {
  for (const address of [
    'https://x.example.evil.example/',
    'https://x.example:8443/',
    'http://x.example/',
    'https:evil.example/x',
    '\thttps://evil.example/',
    '//evil.example/',
    '/\\evil.example/',
    '@evil.example/',
    'https://x.example\\@evil.example/',
    'HTTPS://EVIL.example/',
  ]) {
    const { api, sent } = hostile([], { baseUrl: 'https://x.example' })
    await api.fetch(address).catch(() => {})
    for (const { url, token } of sent) if (token) t.equal(new URL(url).origin, 'https://x.example', address)
  }
})

test('a relative baseUrl is of the page, and without a page an error of the call', async (t) => {
  const { api } = hostile([], { baseUrl: '/' })
  await t.rejects(api.syncUser(), TypeError)
})

test('a platform whose URL has no origin', async (t) => {
  const { URL } = globalThis
  t.teardown(() => {
    globalThis.URL = URL
  })
  class Bare extends URL {}
  Object.defineProperty(Bare.prototype, 'origin', {
    get() {
      throw new Error('URL.origin is not implemented')
    },
  })
  Reflect.set(globalThis, 'URL', Bare)
  const { api, sent } = hostile([])
  t.equal((await api.profile()).id, 'user_1')
  t.equal(sent.length, 1)
})

test('no token: Clerk is waited for, and nobody is signed out while offline', async (t) => {
  let asked = 0
  const loading = hostile([], { getToken: () => (++asked < 4 ? null : tokenOf('s', 0)) })
  t.equal((await loading.api.profile()).id, 'user_1')
  t.strictSame(loading.waits, [300, 300, 300])
  const nobody = hostile([], { getToken: () => null })
  await t.rejects(nobody.api.profile(), { code: 'SIGNED_OUT' })
  t.equal(nobody.clock.now, 3_000)
  const { seams } = virtualClock()
  const api = createSessionSync({ baseUrl: BASE, getToken: () => null }, { ...seams, navigator: { onLine: false } })
  await t.rejects(api.profile(), { code: 'OFFLINE', status: 0 })
})

test('twenty calls with an expired token ask for one fresh token', async (t) => {
  let fresh = 0
  const answers = (token: string | null) => answer(token?.includes(tokenOf('s', 1)) ? OK : EXPIRED)
  const { seams, clock } = virtualClock()
  let current = 0
  const api = createSessionSync(
    {
      baseUrl: BASE,
      async getToken(options) {
        await new Promise(setImmediate)
        if (options?.skipCache) {
          fresh += 1
          current = 1
        }
        return tokenOf('s', current)
      },
      fetch: (async (_input: string, init: RequestInit) =>
        answers(new Headers(init.headers).get('authorization'))) as typeof fetch,
    },
    seams,
  )
  const all = await Promise.all(Array.from({ length: 20 }, () => api.fetch('/a')))
  t.ok(all.every(({ status }) => status === 200))
  t.equal(fresh, 1)
  clock.now += 5_000
  current = 0
  await api.fetch('/a')
  t.equal(fresh, 2, 'later once more')
})

test('a fresh token that is missing, fails, or is another’s is not shared with later calls', async (t) => {
  const [mine, other] = [tokenOf('s', 1), tokenOf('other', 1)]
  for (const [what, first] of [
    ['missing', null],
    ['failed', new Error('Clerk is away')],
    ['another’s', other],
  ] as const) {
    const fresh = [first]
    const { api, sent } = hostile([EXPIRED, ...(first ? [EXPIRED] : [])], {
      async getToken(options) {
        if (!options?.skipCache) return tokenOf('s', 0)
        const token = fresh.length > 0 ? fresh.shift() : mine
        if (token instanceof Error) throw token
        return token
      },
    })
    if (first) await t.rejects(api.fetch('/a'), what)
    t.equal((await api.fetch('/a')).status, 200, what)
    t.equal(sent.at(-1)?.token, `Bearer ${mine}`)
  }
})

test('a handler that throws or rejects changes no answer', async (t) => {
  const said: unknown[] = []
  const { error } = console
  console.error = (what: unknown) => said.push(what)
  t.teardown(() => {
    console.error = error
  })
  for (const onSignedOut of [
    () => {
      throw new Error('thrown')
    },
    async () => {
      throw new Error('rejected')
    },
  ]) {
    const { api } = hostile([{ status: 401, code: 'SESSION_REVOKED' }], { onSignedOut })
    t.equal((await api.fetch('/a')).status, 401)
  }
  await new Promise(setImmediate)
  t.match(said, [{ message: 'thrown' }, { message: 'rejected' }])
})
