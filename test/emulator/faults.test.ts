import { once } from 'node:events'
import { connect } from 'node:net'
import { test } from 'tap'
import type { Fault } from '../../src/emulator/index.ts'
import { clientOf, errorLike, startClerk } from './start-clerk.ts'

type Clerk = Awaited<ReturnType<typeof startClerk>>

const jwks = (clerk: Clerk, signal?: AbortSignal) => fetch(`${clerk.url}/.well-known/jwks.json`, { signal })
const users = (clerk: Clerk, signal?: AbortSignal) =>
  fetch(`${clerk.apiUrl}/v1/users`, { signal, headers: { authorization: `Bearer ${clerk.secretKey}` } })

const ENDPOINTS = { jwks, api: users }

for (const [name, ask] of Object.entries(ENDPOINTS) as [keyof typeof ENDPOINTS, typeof jwks][]) {
  test(`${name}: a wrong answer instead of the right one`, async (t) => {
    const clerk = await startClerk(t)
    const answerTo = async (fault: Fault) => {
      clerk.faults[name] = fault
      const response = await ask(clerk)
      return { status: response.status, type: response.headers.get('content-type'), body: await response.text() }
    }
    t.match(await answerTo('error'), { status: 500, type: 'application/json', body: /internal_clerk_error/ })
    t.match(await answerTo('html'), { status: 200, type: /^text\/html/, body: /^<!doctype html>/ })
    t.match(await answerTo('empty'), { status: 200, body: '' })
    t.match(await answerTo({ status: 502, headers: { 'content-type': 'text/plain' }, body: 'Bad gateway' }), {
      status: 502,
      type: /^text\/plain/,
      body: 'Bad gateway',
    })
    t.match(await answerTo({ status: 204 }), { status: 204, body: '' })
    clerk.faults[name] = 'reset'
    await t.rejects(ask(clerk), errorLike({ cause: { code: 'ECONNRESET' } }))
    clerk.faults[name] = undefined
    t.match(await ask(clerk), { status: 200 }, 'all is well again')
  })

  test(`${name}: an answer that is late, or never comes`, async (t) => {
    const clerk = await startClerk(t)
    clerk.faults[name] = { delayMs: 60 }
    const start = performance.now()
    t.equal((await ask(clerk)).status, 200)
    t.ok(performance.now() - start >= 59)

    clerk.faults[name] = 'hang'
    await t.rejects(ask(clerk, AbortSignal.timeout(50)), { name: 'TimeoutError' })

    clerk.faults[name] = 'drip'
    const listener = new AbortController()
    const dripping = await ask(clerk, listener.signal)
    t.equal(dripping.status, 200)
    const reader = (dripping.body as ReadableStream<Uint8Array>).getReader()
    for (const drop of [await reader.read(), await reader.read()]) {
      t.equal(drop.done, false)
    }
    listener.abort()
    await t.rejects(reader.read(), { name: 'AbortError' })
  })
}

test('a fault of one endpoint leaves the other alone', async (t) => {
  const clerk = await startClerk(t)
  const headers = { authorization: `Bearer ${clerk.secretKey}` }
  clerk.faults.jwks = 'error'
  t.equal((await users(clerk)).status, 200)
  t.equal(
    (await fetch(`${clerk.apiUrl}/v1/jwks`, { headers })).status,
    500,
    "the Backend API's JWKS goes with the JWKS",
  )
  clerk.faults.jwks = undefined
  clerk.faults.api = 'error'
  t.equal((await jwks(clerk)).status, 200)
  t.equal((await fetch(`${clerk.apiUrl}/v1/jwks`, { headers })).status, 200)
})

test('a request that goes away while it is delayed is forgotten', async (t) => {
  const clerk = await startClerk(t)
  clerk.faults.jwks = { delayMs: 60_000 }
  const socket = connect(Number(new URL(clerk.url).port), '127.0.0.1')
  socket.write('GET /.well-known/jwks.json HTTP/1.1\r\nhost: localhost\r\n\r\n')
  while (clerk.stats.jwksRequests === 0) await new Promise((resolve) => setTimeout(resolve, 2))
  socket.destroy()
  await once(socket, 'close')
  await clerk.close()
  t.notOk(process.getActiveResourcesInfo().includes('Timeout'), 'no timer of a minute is left')
})

test('a rate limit answers 429, Retry-After and the error that Clerk documents', async (t) => {
  let nowMs = 1_700_000_000_000
  const clerk = await startClerk(t, { rateLimit: { requests: 3, windowMs: 10_000 }, now: () => nowMs })
  const { users } = clientOf(clerk)
  await users.getCount()
  nowMs += 4_000
  await users.getCount()
  await users.getCount()
  nowMs += 500
  const limited = errorLike({ status: 429, retryAfter: 6, errors: [{ code: 'too_many_requests' }] })
  await t.rejects(users.getCount(), limited)
  await t.rejects(users.getCount(), limited, 'asking again does not prolong the wait')
  nowMs += 5_499
  await t.rejects(users.getCount(), errorLike({ status: 429, retryAfter: 1 }))
  nowMs += 1
  t.equal(await users.getCount(), 0, 'the first request has left the window')
  await t.rejects(users.getCount(), errorLike({ status: 429, retryAfter: 4 }))
  t.match(clerk.stats, {
    apiRequests: 8,
    apiRequestsByPath: { 'GET /v1/users/count': 8 },
    rateLimited: 4,
    maxRequestsInWindow: 7,
  })
  const response = await fetch(`${clerk.apiUrl}/v1/jwks`, { headers: { authorization: `Bearer ${clerk.secretKey}` } })
  t.equal(response.status, 200, 'the JWKS has no limit')
})

test("Clerk's own rate limit is that of the kind of instance", async (t) => {
  const nowMs = 1_700_000_000_000
  for (const [secretKey, requests] of [
    ['sk_test_1', 100],
    ['sk_live_1', 1_000],
  ] as const) {
    const clerk = await startClerk(t, { secretKey, rateLimit: 'clerk', now: () => nowMs })
    const ask = async () => {
      const response = await fetch(`${clerk.apiUrl}/v1/users/count`, {
        headers: { authorization: `Bearer ${secretKey}` },
      })
      await response.arrayBuffer()
      return response.status
    }
    const statuses = await Promise.all(Array.from({ length: requests }, ask))
    t.strictSame(new Set(statuses), new Set([200]), secretKey)
    t.equal(await ask(), 429, secretKey)
  }
})

test('without a rate limit the busiest 10 s are known all the same', async (t) => {
  let nowMs = 1_700_000_000_000
  const clerk = await startClerk(t, { now: () => nowMs })
  const { users } = clientOf(clerk)
  const user = clerk.createUser()
  for (let count = 0; count < 4; count++) {
    await users.getUser(user.id)
    nowMs += 5_000
  }
  t.match(clerk.stats, {
    apiRequests: 4,
    apiRequestsByPath: { 'GET /v1/users/:id': 4 },
    maxRequestsInWindow: 2,
    rateLimited: 0,
  })
})
