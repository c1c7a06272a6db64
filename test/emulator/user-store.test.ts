import { test } from 'tap'
import { blankUser } from '../../src/emulator/user-json.ts'
import { UserStore } from '../../src/emulator/user-store.ts'
import { errorLike, manualClock, startClerk } from './start-clerk.ts'
import { startReceiver } from './start-receiver.ts'

const SECOND_MS = 1_000

test('seeded users behave like other users', async (t) => {
  const clock = manualClock(1_700_000_000_000)
  const clerk = await startClerk(t, { now: clock.now })
  clerk.seedUsers(3)
  const users = [...clerk.users()]
  t.match(users, [
    { id: /^user_2Seed0{22}$/, email_addresses: [{ email_address: 'seed-0@example.com' }] },
    { first_name: 'Seed', last_name: '1', created_at: clock.nowMs - SECOND_MS, updated_at: clock.nowMs - SECOND_MS },
    { created_at: clock.nowMs },
  ])
  t.equal(users[0]?.email_addresses[0]?.id, users[0]?.primary_email_address_id)
  t.same(clerk.webhooks.deliveries, [], 'and come without events')

  const [, second] = users as [object, { id: string }]
  t.same(clerk.getUser(second.id), second)
  t.throws(
    () => clerk.createUser({ email: 'SEED-1@example.com' }),
    errorLike({ item: { code: 'form_identifier_exists' } }),
  )
  const changed = clerk.updateUser(second.id, { email: 'changed@example.com' })
  t.same(clerk.getUser(second.id), changed)
  t.ok(clerk.createUser({ email: 'seed-1@example.com' }), 'the given-up address is free')
  clerk.deleteUser(second.id)
  t.throws(() => clerk.getUser(second.id), errorLike({ statusCode: 404 }))
  t.ok(clerk.createUser({ email: 'changed@example.com' }))
  t.throws(() => clerk.createUser({ id: second.id }), errorLike({ statusCode: 422 }))
  t.throws(() => clerk.getUser('user_2Seed0000000000000000000099'), errorLike({ statusCode: 404 }))
})

test('seeding may emit events, and may happen several times', async (t) => {
  const { url, requests } = await startReceiver(t)
  const clerk = await startClerk(t, { webhookUrl: url })
  clerk.seedUsers(2)
  clerk.seedUsers(3, { emit: true })
  await clerk.webhooks.idle()
  t.same(requests.map(({ event }) => event.data.last_name).sort(), ['2', '3', '4'])
  t.equal([...clerk.users()].length, 5)
})

test('users are kept in order of creation, whatever their order of arrival', (t) => {
  const store = new UserStore()
  store.put(blankUser('user_b', 20_000))
  store.put(blankUser('user_d', 40_000))
  store.put(blankUser('user_a', 10_000))
  store.put(blankUser('user_c', 20_000))
  store.seed(3, 21_500)
  t.same(
    [...store.values()].map((user) => `${user.id.replace(/Seed0+/, '')} ${user.created_at}`),
    ['user_a 10000', 'user_24 19500', 'user_b 20000', 'user_c 20000', 'user_25 20500', 'user_26 21500', 'user_d 40000'],
  )
  t.end()
})

test('the position of a deleted user is known, for the last 10,000', (t) => {
  const store = new UserStore()
  for (let index = 0; index <= 10_000; index++) {
    const user = blankUser(`user_${index}`, index)
    store.put(user)
    store.delete(user)
  }
  t.equal(store.size, 0)
  t.equal(store.positionOf('user_0'), undefined)
  t.same(store.positionOf('user_1'), { createdAtMs: 1, arrival: 1 })
  t.end()
})

test('a million users cost little time and memory', (t) => {
  const store = new UserStore()
  const before = process.memoryUsage().heapUsed
  const start = performance.now()
  store.seed(1_000_000, Date.now())
  const page = store
    .walk({ after: store.positionOf(idOf(500_000)) })
    .take(500)
    .toArray()
  const tookMs = performance.now() - start
  const tookMegabytes = (process.memoryUsage().heapUsed - before) / 1e6
  t.equal(page[0]?.id, idOf(500_001))
  t.equal(store.size, 1_000_000)
  t.ok(tookMs < 3_000, `${tookMs} ms`)
  t.ok(tookMegabytes < 100, `${tookMegabytes} MB`)
  t.end()
})

const idOf = (number: number) => `user_2Seed${String(number).padStart(22, '0')}`
