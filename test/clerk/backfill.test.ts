import { test } from 'tap'
import { type BackfillStore, backfill } from '../../src/clerk/backfill.ts'
import { createBulkApi } from '../../src/clerk/bulk-api.ts'
import { createClerkEmulator } from '../../src/emulator/index.ts'
import { DatabaseUnavailable } from '../../src/errors.ts'

test('a failover is waited for; trouble that stays ends the backfill', async (t) => {
  const clerk = await createClerkEmulator()
  t.teardown(() => clerk.close())
  clerk.seedUsers(3)
  let failures = 2
  const places: number[] = []
  const store: BackfillStore = {
    async apply(changes) {
      failures -= 1
      if (failures >= 0) throw new DatabaseUnavailable()
      return changes.map(() => ({ outcome: 'applied', created: true }))
    },
    async savePlace({ users }) {
      places.push(users)
    },
  }
  const reasons: string[] = []
  const options = {
    api: createBulkApi({ secretKey: clerk.secretKey, apiUrl: clerk.apiUrl }),
    store,
    signal: new AbortController().signal,
  }
  const result = await backfill({ ...options, onRetry: (reason) => reasons.push(reason) })
  t.match(result, { isComplete: true, created: 3 })
  t.equal(reasons.length, 2)
  t.strictSame(places, [3])

  failures = 2
  await t.rejects(backfill({ ...options, patienceMs: 0 }), { code: 'DATABASE_UNAVAILABLE' })
  failures = 1
  t.match(await backfill(options), { created: 3 }, 'nobody has to listen')
  const broken: BackfillStore = { ...store, apply: () => Promise.reject(new TypeError('a fault of ours')) }
  await t.rejects(backfill({ ...options, store: broken }), /a fault of ours/)
})

test('what was read before Clerk went away is written, and its place kept', async (t) => {
  const clerk = await createClerkEmulator()
  t.teardown(() => clerk.close())
  clerk.seedUsers(1_500)
  const whole = createBulkApi({ secretKey: clerk.secretKey, apiUrl: clerk.apiUrl })
  let pages = 0
  const places: number[] = []
  const run = backfill({
    api: {
      listUsers: (after) => {
        pages += 1
        return pages > 2 ? Promise.reject(new Error('Clerk is away')) : whole.listUsers(after)
      },
    },
    store: {
      apply: async (changes) => changes.map(() => ({ outcome: 'stale', created: false })),
      savePlace: async ({ users }) => void places.push(users),
    },
    signal: new AbortController().signal,
  })
  await t.rejects(run, /Clerk is away/)
  t.strictSame(places, [500, 1_000])
})

test('after the wish to stop no page is begun, and what is under way is finished', async (t) => {
  const clerk = await createClerkEmulator()
  t.teardown(() => clerk.close())
  clerk.seedUsers(1_500)
  const whole = createBulkApi({ secretKey: clerk.secretKey, apiUrl: clerk.apiUrl })
  const stop = new AbortController()
  const places: number[] = []
  const result = await backfill({
    api: whole,
    store: {
      async apply(changes) {
        stop.abort()
        return changes.map(() => ({ outcome: 'applied', created: false }))
      },
      savePlace: async ({ users }) => void places.push(users),
    },
    signal: stop.signal,
  })
  t.match(result, { isComplete: false, updated: 500, place: { users: 500 } })
  t.strictSame(places, [500])
})

test('the place never moves behind a page that was not written', async (t) => {
  const clerk = await createClerkEmulator()
  t.teardown(() => clerk.close())
  clerk.seedUsers(1_500)
  const places: number[] = []
  let secondIsWritten = () => {}
  const second = new Promise<void>((done) => (secondIsWritten = done))
  const run = backfill({
    api: createBulkApi({ secretKey: clerk.secretKey, apiUrl: clerk.apiUrl }),
    store: {
      async apply(changes) {
        // PostgreSQL comes back after the patience with the first page is at its end, and in time for the second.
        if (changes[0]?.user?.id.endsWith('0000')) {
          await second
          throw new DatabaseUnavailable()
        }
        secondIsWritten()
        return changes.map(() => ({ outcome: 'applied', created: true }))
      },
      savePlace: async ({ users }) => void places.push(users),
    },
    patienceMs: 0,
    signal: new AbortController().signal,
  })
  await t.rejects(run, { code: 'DATABASE_UNAVAILABLE' })
  t.strictSame(places, [])
})
