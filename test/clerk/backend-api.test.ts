import { type Test, test } from 'tap'
import { Dispatcher } from 'undici'
import { type BackendApiOptions, createBackendApi } from '../../src/clerk/backend-api.ts'
import { createRequestLimit } from '../../src/clerk/request-limit.ts'
import { type ClerkEmulatorOptions, createClerkEmulator, type Fault } from '../../src/emulator/index.ts'
import { clientOf } from '../emulator/start-clerk.ts'

async function start(t: Test, options: Partial<BackendApiOptions> = {}, emulator: ClerkEmulatorOptions = {}) {
  const clerk = await createClerkEmulator(emulator)
  t.teardown(() => clerk.close())
  const reasons: string[] = []
  const api = createBackendApi({
    secretKey: clerk.secretKey,
    apiUrl: clerk.apiUrl,
    firstPauseMs: 1,
    onRetry: (reason) => {
      reasons.push(reason)
      clerk.faults.api = undefined
    },
    ...options,
  })
  return { clerk, api, reasons }
}

test('every fault is retried until there is an answer', async (t) => {
  const { clerk, api, reasons } = await start(t, { deadlineMs: 300 })
  clerk.createUser()
  const faults: [Fault, string][] = [
    ['error', 'status 500'],
    [{ status: 408 }, 'status 408'],
    ['reset', 'no connection'],
    ['hang', 'no answer in 300 ms'],
    ['drip', 'no answer in 300 ms'],
    ['html', 'an answer that is not JSON'],
    ['empty', 'an answer that is not JSON'],
  ]
  for (const [fault, reason] of faults) {
    clerk.faults.api = fault
    t.equal(await api.countUsers(), 1)
    t.equal(reasons.pop(), reason)
  }
  clerk.faults.api = { status: 200, headers: { 'content-type': 'application/json' }, body: '[{"id":"user_odd"}]' }
  const { ids, createdAt } = await api.listUsers({})
  t.strictSame({ ids, createdAt }, { ids: ['user_odd'], createdAt: [undefined] })
  clerk.faults.api = { status: 403 }
  await t.rejects(api.isAbsent('user_1'), { name: 'ClerkRefusal', message: /403 .*may not do this/ })
  await t.rejects(api.listUsers({ startingAfter: 'user_1' }), { name: 'ClerkRefusal', message: /403/ })
})

test('an answer of an unexpected shape is not retried', async (t) => {
  const { clerk, api, reasons } = await start(t)
  const answer = (body: string): Fault => ({ status: 200, headers: { 'content-type': 'application/json' }, body })
  for (const [body, shape] of [
    ['{"users":[{"id":"user_1","email":"ada@example.com"}]}', 'an object with \\["users"\\]'],
    ['{}', 'an object with \\[\\]'],
    ['null', 'null'],
    ['"ada@example.com"', 'a string'],
  ] as const) {
    clerk.faults.api = answer(body)
    const { message } = (await api.listUsers({}).catch((error) => error)) as Error
    t.match(
      message,
      new RegExp(`^Clerk's Backend API: an unexpected body from GET /v1/users \\(${shape}\\): does CLERK_API_URL`),
    )
    t.notMatch(message, 'ada@', 'its values are not shown')
  }
  clerk.faults.api = answer('[]')
  await t.rejects(api.countUsers(), { name: 'ClerkUnavailable', message: /GET \/v1\/users\/count \(an array\)/ })
  t.strictSame(reasons, [], 'nothing was tried again')
})

test('Retry-After is honoured in seconds and as a date, and has a default', async (t) => {
  const { clerk, api } = await start(t)
  for (const [header, leastMs] of [
    [{ 'retry-after': '1' }, 1_000],
    [{ 'retry-after': new Date(Date.now() + 3_000).toUTCString() }, 500],
    [{ 'retry-after': 'soon' }, 1_000],
    [{}, 1_000],
  ] as [Record<string, string>, number][]) {
    clerk.faults.api = { status: 429, headers: header }
    const startedAt = performance.now()
    await api.countUsers()
    t.ok(performance.now() - startedAt >= leastMs, JSON.stringify(header))
  }
  t.equal(api.counts.rateLimited, 4)
})

test('a signal ends a request, a pause and a wait for a slot', async (t) => {
  const stop = new AbortController()
  const { clerk, api } = await start(t, { signal: stop.signal })
  clerk.faults.api = 'hang'
  const asked = api.countUsers()
  setTimeout(() => stop.abort(new Error('stop')), 50)
  await t.rejects(asked, /stop/)
  await t.rejects(api.countUsers(), /stop/)
  const limit = createRequestLimit({ requests: 1, windowMs: 60_000 })
  await limit.run(async () => 1)
  await t.rejects(limit.run(async () => 2, AbortSignal.timeout(20)))
})

test("a job's requests leave a fifth of Clerk's limit to others", async (t) => {
  for (const [secretKey, most] of [
    ['sk_test_a', 80],
    ['sk_live_a', 800],
  ] as const) {
    let sent = 0
    // Never answers.
    class Silent extends Dispatcher {
      override dispatch() {
        sent += 1
        return true
      }
    }
    const stop = new AbortController()
    const api = createBackendApi({ secretKey, dispatcher: new Silent(), signal: stop.signal, deadlineMs: 1_000 })
    const calls = Array.from({ length: most + 1 }, () => api.countUsers())
    const last = t.rejects(calls.at(-1) as Promise<number>, { name: 'AbortError' }, 'it waits for a place')
    setImmediate(() => stop.abort())
    await last
    t.equal(sent, most, secretKey)
  }
})

test('no window has more requests than the limit, however they are timed', async (t) => {
  const windowMs = 200
  const limit = createRequestLimit({ requests: 5, windowMs })
  const begun: number[] = []
  await Promise.all(
    Array.from({ length: 23 }, () =>
      limit.run(async () => {
        begun.push(performance.now())
        await new Promise((done) => setTimeout(done, Math.random() * 30))
      }),
    ),
  )
  t.equal(begun.length, 23)
  for (const [at, time] of begun.entries()) {
    t.ok(begun.filter((other) => other > time - windowMs && other <= time).length <= 5, `request ${at}`)
  }
})

test('keys, the instance, and whether a user is there', async (t) => {
  const { clerk, api } = await start(t)
  const ada = clerk.createUser()
  const [kid] = (await clientOf(clerk).jwks.getJwks()).keys?.map((key) => key.kid) ?? []
  t.match(await api.findKeys(), [{ kid, n: String }])
  t.strictSame(await api.findInstance(), { id: clerk.instanceId, environmentType: 'development' })
  t.strictSame([await api.isAbsent(ada.id), await api.isAbsent('user_x')], [false, true])
  clerk.faults.api = clerk.faults.jwks = { status: 404 }
  t.strictSame([await api.findKeys(), await api.findInstance()], [undefined, undefined], 'an API without them')
  clerk.faults.api = { status: 401 }
  await t.rejects(api.findInstance(), {
    name: 'ClerkRefusal',
    message: /401 to GET .v1.instance: CLERK_SECRET_KEY is not/,
  })
  const nowhere = createBackendApi({ secretKey: 'sk_live_x', signal: AbortSignal.abort(new Error('stop')) })
  await t.rejects(nowhere.countUsers(), /stop/)
})

test('lists are cut by time, order, cursor and offset, as @clerk/backend reads them', async (t) => {
  const { clerk, api } = await start(t)
  const times = [1_700_000_000_000, 1_700_000_000_001, 1_700_000_000_002, 1_700_000_000_003]
  const ids = times.map((createdAt) => clerk.createUser({ createdAt }).id)
  const [a, b, c, d] = ids as [string, string, string, string]
  clerk.updateUser(b, { firstName: 'Bea' })
  const list = async (query: Parameters<typeof api.listUsers>[0]) => (await api.listUsers(query)).ids
  t.strictSame(await list({}), [d, c, b, a], 'newest first')
  t.strictSame(await list({ orderBy: 'created_at', limit: 2 }), [a, b])
  t.strictSame(await list({ orderBy: 'created_at', limit: 2, startingAfter: b }), [c, d])
  t.strictSame(await list({ orderBy: 'created_at', limit: 2, offset: 1 }), [b, c])
  t.strictSame(await list({ orderBy: '-updated_at', limit: 1 }), [b])
  t.strictSame(await list({ ids: [a, d, 'user_x'], orderBy: 'created_at' }), [a, d])
  const between = { createdAfter: times[0] as number, createdBefore: times[3] as number }
  t.strictSame(await list({ ...between, orderBy: 'created_at' }), [b, c], 'both ends are left out')
  t.strictSame(await list({ ...between, orderBy: 'created_at', startingAfter: b }), [c])
  t.strictSame([await api.countUsers(between), await api.countUsers()], [2, 4])

  const { users, sessions } = clientOf(clerk)
  const theirs = await users.getUserList({ orderBy: '-updated_at', limit: 1 })
  t.strictSame(
    theirs.data.map(({ id }) => id),
    [b],
  )
  for (const userId of [a, b, c]) clerk.signIn(userId)
  const query = { limit: 2, offset: 1 }
  const ours = await api.list('/v1/sessions', { ...query, paginated: 'true' })
  const page = await sessions.getSessionList(query)
  t.equal(ours.total, page.totalCount)
  t.strictSame(
    ours.items.map((item) => (item as { id: string }).id),
    page.data.map(({ id }) => id),
  )
  t.strictSame(Object.keys(await api.list('/v1/users', {})), ['items'], 'a bare list says no total')
})
