import { setTimeout as sleep } from 'node:timers/promises'
import { test } from 'tap'
import { createBackendApi } from '../../src/clerk/backend-api.ts'
import { createUserLookup, type UserLookupOptions } from '../../src/clerk/user-lookup.ts'
import { createClerkEmulator } from '../../src/emulator/index.ts'
import { snapshotFromApi } from '../../src/resources/user/change.ts'
import type { ClerkUser } from '../../src/resources/user/payload.ts'

/** A lookup that asks for a user as often as it is called; the answers alone. */
function everyTime(options: UserLookupOptions) {
  const find = createUserLookup({ askAgainAfterMs: 0, budget: 100, ...options })
  return async (id: string) => (await find(id)).answer
}

const JSON_TYPE = { 'content-type': 'application/json' }

test('a user is found, absent, or the API is unavailable', async (t) => {
  const clerk = await createClerkEmulator()
  t.teardown(() => clerk.close())
  const ada = clerk.createUser({ email: 'ada@example.com', firstName: 'Ada' })
  const statuses: number[] = []
  const options = { secretKey: clerk.secretKey, apiUrl: clerk.apiUrl, deadlineMs: 2_000 }
  const find = everyTime({ ...options, onAnswer: (status) => statuses.push(status) })
  const user = snapshotFromApi(ada as ClerkUser)
  const found = async () => {
    const answer = await find(ada.id)
    t.ok(
      answer.state === 'found' && Math.abs(Date.now() - Number(answer.user.askedAt)) < 60_000,
      'it says when Clerk was asked',
    )
    return answer.state === 'found' ? { ...answer, user: { ...answer.user, askedAt: undefined } } : answer
  }
  t.match(await found(), { state: 'found', user })
  t.strictSame(await find('user_nobody'), { state: 'absent' })
  const ahead = { ...ada, updated_at: Date.now() + 172_800_000 }
  const answer = (body: string) => ({ status: 200, headers: JSON_TYPE, body })
  const faults: [typeof clerk.faults.api, { reason: string; status?: number }][] = [
    ['error', { reason: 'status 500', status: 500 }],
    [answer(JSON.stringify(ahead)), { reason: 'dated more than a day ahead', status: 200 }],
    ['reset', { reason: 'no connection' }],
    ['html', { reason: 'an answer that is not JSON', status: 200 }],
    ['hang', { reason: 'no answer in 2000 ms' }],
    ['drip', { reason: 'no answer in 2000 ms' }],
    [answer('{"object":"user","id":7}'), { reason: 'an unexpected body', status: 200 }],
    [answer('{"object":"user","id":"user_other"}'), { reason: 'an unexpected body', status: 200 }],
    [answer('null'), { reason: 'an unexpected body', status: 200 }],
    [
      { status: 302, headers: { location: 'http://127.0.0.1:9/' } },
      { reason: 'status 302', status: 302 },
    ],
  ]
  for (const [fault, expected] of faults) {
    clerk.faults.api = fault
    t.strictSame(await find(ada.id), { state: 'unavailable', ...expected }, JSON.stringify(fault))
  }
  t.strictSame(statuses, [200, 404, 500, 200, 0, 200, 0, 0, 200, 200, 200, 302], 'each call is told once')
  const named = { 'content-type': 'application/json; charset=utf-8' }
  clerk.faults.api = { status: 200, headers: named, body: JSON.stringify(ada) }
  t.match(await found(), { state: 'found', user }, 'a proxy may have named the charset')
  clerk.faults.api = undefined
  const denied = everyTime({ ...options, secretKey: 'sk_test_wrong' })
  t.strictSame(await denied(ada.id), { state: 'unavailable', reason: 'status 401', status: 401 })
  const nowhere = everyTime({ ...options, apiUrl: 'http://127.0.0.1:9' })
  t.strictSame(await nowhere(ada.id), { state: 'unavailable', reason: 'no connection' })
})

test('callers share a call for one user, and Retry-After stops all calls', async (t) => {
  const clerk = await createClerkEmulator()
  t.teardown(() => clerk.close())
  const ada = clerk.createUser({ email: 'ada@example.com' })
  const bob = clerk.createUser({ email: 'bob@example.com' })
  const find = everyTime({ secretKey: clerk.secretKey, apiUrl: clerk.apiUrl })
  const paused = { state: 'not-asked', reason: 'retry-after' }
  const state = async (id: string) => (await find(id)).state
  const shared = createUserLookup({ secretKey: clerk.secretKey, apiUrl: clerk.apiUrl, askAgainAfterMs: 0 })
  const answers = await Promise.all(Array.from({ length: 20 }, () => shared(ada.id)))
  t.equal(clerk.stats.apiRequests, 1)
  t.ok(answers.every(({ answer, isFresh }) => answer.state === 'found' && isFresh))

  for (const status of [429, 503]) {
    clerk.faults.api = { status, headers: { 'retry-after': '1' } }
    t.strictSame(await find(ada.id), { state: 'unavailable', reason: `status ${status}`, status })
    clerk.faults.api = undefined
    const before = clerk.stats.apiRequests
    t.strictSame(await find(bob.id), paused)
    t.equal(clerk.stats.apiRequests, before, 'nothing was asked')
    await sleep(1_050)
    t.equal(await state(bob.id), 'found')
  }

  clerk.faults.api = { status: 429 }
  await find(ada.id)
  clerk.faults.api = undefined
  t.strictSame(await find(bob.id), paused, 'for a second when Clerk names no time')
})

test('a Retry-After of one client stops all that share the key', async (t) => {
  const clerk = await createClerkEmulator()
  t.teardown(() => clerk.close())
  const { id } = clerk.createUser()
  const options = { secretKey: clerk.secretKey, apiUrl: clerk.apiUrl }
  const api = createBackendApi({ ...options, maxAttempts: 1 })
  clerk.faults.api = { status: 429, headers: { 'retry-after': '60' } }
  await t.rejects(api.countUsers(), { name: 'ClerkUnavailable' })
  clerk.faults.api = undefined
  t.match(await everyTime(options)(id), { state: 'not-asked', reason: 'retry-after' })
  t.equal(clerk.stats.apiRequests, 1)
  const another = await everyTime({ ...options, secretKey: 'sk_test_other' })(id)
  t.match(another, { state: 'unavailable', status: 401 }, 'another key is not concerned')
})

test('a user is looked up at most once in 10 s, whatever the result', async (t) => {
  const clerk = await createClerkEmulator()
  t.teardown(() => clerk.close())
  const { id } = clerk.createUser()
  const options = { secretKey: clerk.secretKey, apiUrl: clerk.apiUrl, deadlineMs: 2_000 }
  const find = createUserLookup(options)
  t.match(await find(id), { answer: { state: 'found', user: { id } }, isFresh: true })
  t.match(await find('user_nobody'), { answer: { state: 'absent' }, isFresh: true })
  clerk.faults.api = 'reset'
  const broken = { state: 'unavailable', reason: 'no connection' }
  t.strictSame(await find('user_unlucky'), { answer: broken, isFresh: true })
  clerk.faults.api = undefined
  t.match(await find(id), { answer: { state: 'found', user: { id } }, isFresh: false })
  t.match(await find('user_nobody'), { answer: { state: 'absent' }, isFresh: false })
  t.strictSame(await find('user_unlucky'), { answer: broken, isFresh: false })
  t.equal(clerk.stats.apiRequests, 3)

  const impatient = createUserLookup({ ...options, askAgainAfterMs: 50 })
  t.match(await impatient(id), { isFresh: true })
  await sleep(60)
  t.match(await impatient(id), { answer: { state: 'found' }, isFresh: true })
})

test('the budget is not exceeded, and one user costs one request', async (t) => {
  const clerk = await createClerkEmulator({ secretKey: 'sk_live_abc' })
  t.teardown(() => clerk.close())
  const ids = Array.from({ length: 110 }, () => clerk.createUser().id)
  const options = { secretKey: clerk.secretKey, apiUrl: clerk.apiUrl }
  const askAll = async (find: ReturnType<typeof createUserLookup>) => {
    const states: string[] = []
    for (const id of ids) states.push((await find(id)).answer.state)
    return states
  }
  const find = createUserLookup(options)
  for (let n = 0; n < 300; n += 1) await find(ids[0] as string)
  t.equal(clerk.stats.apiRequests, 1)
  t.strictSame(
    await askAll(find),
    ids.map((_, n) => (n < 100 ? 'found' : 'not-asked')),
    "a tenth of Clerk's 1,000",
  )
  t.equal(clerk.stats.apiRequests, 100)

  const small = createUserLookup({ ...options, budget: 2 })
  t.equal((await askAll(small)).filter((state) => state === 'found').length, 2)
  t.match(await small(ids[7] as string), {
    answer: { state: 'not-asked', reason: 'budget' },
    isFresh: false,
  })
  const none = createUserLookup({ ...options, budget: 0 })
  t.match(await none(ids[0] as string), { answer: { state: 'not-asked' } })
  const development = createUserLookup({ ...options, secretKey: 'sk_test_wrong' })
  const answers = await askAll(development)
  t.equal(answers.filter((state) => state === 'unavailable').length, 10, "a tenth of Clerk's 100")
})

test('an absent user stays absent while the budget is used up, until Clerk returns the user', async (t) => {
  const clerk = await createClerkEmulator()
  t.teardown(() => clerk.close())
  const windowed = { secretKey: clerk.secretKey, apiUrl: clerk.apiUrl, askAgainAfterMs: 0 }
  const find = createUserLookup({ ...windowed, budget: 2 })
  t.match(await find('user_late'), { answer: { state: 'absent' }, isFresh: true })
  clerk.createUser({ id: 'user_other' })
  t.match(await find('user_other'), { answer: { state: 'found' } })
  t.match(await find('user_late'), { answer: { state: 'absent' }, isFresh: false })
  t.match(await find('user_other'), { answer: { state: 'not-asked' }, isFresh: false })

  const again = createUserLookup({ ...windowed, budget: 3 })
  await again('user_late')
  clerk.createUser({ id: 'user_late' })
  t.match(await again('user_late'), { answer: { state: 'found' } })
  await again('user_other')
  t.match(await again('user_late'), { answer: { state: 'not-asked' } }, 'Clerk knows the user by now')
})

test('the number of remembered absent users is limited', async (t) => {
  const clerk = await createClerkEmulator()
  t.teardown(() => clerk.close())
  const find = createUserLookup({
    secretKey: clerk.secretKey,
    apiUrl: clerk.apiUrl,
    askAgainAfterMs: 0,
    budget: 1_000,
    maxAbsent: 20,
  })
  for (let n = 0; n <= 20; n += 1) await find(`user_${n}`)
  // From here on Clerk is not asked.
  clerk.faults.api = { status: 429, headers: { 'retry-after': '600' } }
  await find('user_last')
  t.match(await find('user_0'), { answer: { state: 'not-asked' } })
  t.match(await find('user_1'), { answer: { state: 'absent' } })
})

test('calls that hang do not pile up, and leave no socket behind', async (t) => {
  const clerk = await createClerkEmulator()
  t.teardown(() => clerk.close())
  clerk.faults.api = 'hang'
  const find = everyTime({ secretKey: clerk.secretKey, apiUrl: clerk.apiUrl, deadlineMs: 50, maxConcurrent: 2 })
  const hanging = ['user_a', 'user_b'].map((id) => find(id))
  t.strictSame(await find('user_c'), { state: 'not-asked', reason: 'concurrency' })
  await Promise.all(hanging)
  t.strictSame(await find('user_c'), { state: 'unavailable', reason: 'no answer in 50 ms' })
  t.equal(clerk.stats.apiRequests, 3)
})
