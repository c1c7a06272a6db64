import { setTimeout as sleep } from 'node:timers/promises'
import { test } from 'tap'
import { createBackendApi } from '../../src/clerk/backend-api.ts'
import { createClerkEmulator } from '../../src/emulator/index.ts'

test('a user is found, absent, or the API is unavailable', async (t) => {
  const clerk = await createClerkEmulator()
  t.teardown(() => clerk.close())
  const ada = clerk.createUser({ email: 'ada@example.com', firstName: 'Ada' })
  const api = createBackendApi({ secretKey: clerk.secretKey, apiUrl: clerk.apiUrl, deadlineMs: 300 })
  t.match(await api.findUser(ada.id), {
    state: 'found',
    user: {
      kind: 'snapshot',
      id: ada.id,
      source: 'clerk_api',
      version: { updatedAt: ada.updated_at, eventAt: null },
      profile: { email: 'ada@example.com' },
    },
  })
  t.strictSame(await api.findUser('user_nobody'), { state: 'absent' })
  const ahead = { ...ada, updated_at: Date.now() + 172_800_000 }
  const faults: [typeof clerk.faults.api, RegExp][] = [
    ['error', /status 500/],
    [{ status: 200, headers: { 'content-type': 'application/json' }, body: JSON.stringify(ahead) }, /day ahead/],
    ['reset', /no connection/],
    ['html', /unexpected error/],
    ['hang', /no answer in 300 ms/],
    [
      { status: 200, headers: { 'content-type': 'application/json' }, body: '{"object":"user","id":7}' },
      /unexpected body/,
    ],
    [
      { status: 200, headers: { 'content-type': 'application/json' }, body: '{"object":"user","id":"user_other"}' },
      /unexpected body/,
    ],
  ]
  for (const [fault, reason] of faults) {
    clerk.faults.api = fault
    t.match(await api.findUser(ada.id), { state: 'unavailable', reason })
  }
  clerk.faults.api = {
    status: 200,
    headers: { 'content-type': 'application/json; charset=utf-8' },
    body: JSON.stringify(ada),
  }
  t.match(await api.findUser(ada.id), { state: 'found', user: { id: ada.id } }, 'a proxy may have named the charset')
  const denied = createBackendApi({ secretKey: 'sk_test_wrong', apiUrl: clerk.apiUrl })
  clerk.faults.api = undefined
  t.match(await denied.findUser(ada.id), { state: 'unavailable', reason: 'status 401' })
})

test('callers share a call for one user, and Retry-After stops all calls', async (t) => {
  const clerk = await createClerkEmulator()
  t.teardown(() => clerk.close())
  const ada = clerk.createUser({ email: 'ada@example.com' })
  const bob = clerk.createUser({ email: 'bob@example.com' })
  const api = createBackendApi({ secretKey: clerk.secretKey, apiUrl: clerk.apiUrl })
  await Promise.all(Array.from({ length: 20 }, () => api.findUser(ada.id)))
  t.equal(clerk.stats.apiRequests, 1)
  await api.findUser(ada.id)
  t.equal(clerk.stats.apiRequests, 2, 'and is not cached')

  clerk.faults.api = { status: 429, headers: { 'retry-after': '1' } }
  t.match(await api.findUser(ada.id), { state: 'unavailable', reason: 'status 429' })
  clerk.faults.api = undefined
  const before = clerk.stats.apiRequests
  t.match(await api.findUser(bob.id), { state: 'unavailable', reason: 'paused by Retry-After' })
  t.equal(clerk.stats.apiRequests, before, 'nothing was asked')
  await sleep(1_050)
  t.match(await api.findUser(bob.id), { state: 'found' })

  clerk.faults.api = { status: 429 }
  await api.findUser(ada.id)
  clerk.faults.api = undefined
  t.match(
    await api.findUser(bob.id),
    { state: 'unavailable', reason: 'paused by Retry-After' },
    'for a second when Clerk names no time',
  )
})

test('calls that hang do not pile up', async (t) => {
  const clerk = await createClerkEmulator()
  t.teardown(() => clerk.close())
  clerk.faults.api = 'hang'
  const api = createBackendApi({ secretKey: clerk.secretKey, apiUrl: clerk.apiUrl, deadlineMs: 50, maxConcurrent: 2 })
  await Promise.all(['user_a', 'user_b'].map((id) => api.findUser(id)))
  t.match(await api.findUser('user_c'), { state: 'unavailable', reason: 'too many calls under way' })
})
