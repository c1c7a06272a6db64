import { setTimeout as sleep } from 'node:timers/promises'
import { test } from 'tap'
import { createUserLookup } from '../../src/clerk/user-lookup.ts'
import { createClerkEmulator } from '../../src/emulator/index.ts'
import { snapshotFromApi } from '../../src/resources/user/change.ts'
import type { ClerkUser } from '../../src/resources/user/payload.ts'

const JSON_TYPE = { 'content-type': 'application/json' }

test('a user is found, absent, or the API is unavailable', async (t) => {
  const clerk = await createClerkEmulator()
  t.teardown(() => clerk.close())
  const ada = clerk.createUser({ email: 'ada@example.com', firstName: 'Ada' })
  const statuses: number[] = []
  const options = { secretKey: clerk.secretKey, apiUrl: clerk.apiUrl, deadlineMs: 2_000 }
  const find = createUserLookup({ ...options, onAnswer: (status) => statuses.push(status) })
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
    ['html', { reason: 'an answer that is no JSON', status: 200 }],
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
  const denied = createUserLookup({ ...options, secretKey: 'sk_test_wrong' })
  t.strictSame(await denied(ada.id), { state: 'unavailable', reason: 'status 401', status: 401 })
  const nowhere = createUserLookup({ ...options, apiUrl: 'http://127.0.0.1:9' })
  t.strictSame(await nowhere(ada.id), { state: 'unavailable', reason: 'no connection' })
})

test('callers share a call for one user, and Retry-After stops all calls', async (t) => {
  const clerk = await createClerkEmulator()
  t.teardown(() => clerk.close())
  const ada = clerk.createUser({ email: 'ada@example.com' })
  const bob = clerk.createUser({ email: 'bob@example.com' })
  const find = createUserLookup({ secretKey: clerk.secretKey, apiUrl: clerk.apiUrl })
  const paused = { state: 'unavailable', reason: 'paused by Retry-After' }
  const state = async (id: string) => (await find(id)).state
  await Promise.all(Array.from({ length: 20 }, () => find(ada.id)))
  t.equal(clerk.stats.apiRequests, 1)
  await find(ada.id)
  t.equal(clerk.stats.apiRequests, 2, 'and is not cached')

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

test('calls that hang do not pile up, and leave no socket behind', async (t) => {
  const clerk = await createClerkEmulator()
  t.teardown(() => clerk.close())
  clerk.faults.api = 'hang'
  const find = createUserLookup({ secretKey: clerk.secretKey, apiUrl: clerk.apiUrl, deadlineMs: 50, maxConcurrent: 2 })
  const hanging = ['user_a', 'user_b'].map((id) => find(id))
  t.strictSame(await find('user_c'), { state: 'unavailable', reason: 'too many calls under way' })
  await Promise.all(hanging)
  t.strictSame(await find('user_c'), { state: 'unavailable', reason: 'no answer in 50 ms' })
  t.equal(clerk.stats.apiRequests, 3)
})
