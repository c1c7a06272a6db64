import { test } from 'tap'
import { createBackendApi } from '../../src/clerk/backend-api.ts'
import type { Lane } from '../../src/clerk/lanes.ts'
import { createClerkEmulator } from '../../src/emulator/index.ts'
import { DatabaseUnavailable } from '../../src/errors.ts'
import { type BackfillOptions, type BackfillStore, backfill, writePages } from '../../src/jobs/backfill.ts'
import { createTestJobDatabase } from '../helpers/job-database.ts'

test('a backfill waits for a failover; a longer outage ends it', async (t) => {
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
    api: createBackendApi({ secretKey: clerk.secretKey, apiUrl: clerk.apiUrl }),
    store,
    total: 3,
    signal: new AbortController().signal,
  }
  const result = await writePages({ ...options, onRetry: (reason) => reasons.push(reason) })
  const none = { updated: 0, unchanged: 0, refused: 0 }
  const { place, ...counts } = result
  t.strictSame(counts, { isComplete: true, pages: 1, users: 3, created: 3, ...none })
  t.strictSame(reasons, ['unavailable', 'unavailable'])
  t.strictSame(places, [3])

  failures = 2
  await t.rejects(writePages({ ...options, patienceMs: 0 }), { code: 'DATABASE_UNAVAILABLE' })
  failures = 1
  t.equal((await writePages(options)).created, 3, 'nobody has to listen')
  const broken: BackfillStore = { ...store, apply: () => Promise.reject(new TypeError('a bug')) }
  await t.rejects(writePages({ ...options, store: broken }), /a bug/)
})

test('pages that were read before Clerk failed are written, and the progress is saved', async (t) => {
  const clerk = await createClerkEmulator()
  t.teardown(() => clerk.close())
  clerk.seedUsers(1_500)
  const whole = createBackendApi({ secretKey: clerk.secretKey, apiUrl: clerk.apiUrl })
  let pages = 0
  const places: number[] = []
  const run = writePages({
    total: 1_500,
    lanes: 1,
    api: {
      ...whole,
      listUsers: (query) => {
        pages += 1
        return pages > 2 ? Promise.reject(new Error('Clerk is away')) : whole.listUsers(query)
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

test('after an abort no page is started, and the current ones are finished', async (t) => {
  const clerk = await createClerkEmulator()
  t.teardown(() => clerk.close())
  clerk.seedUsers(1_500)
  const whole = createBackendApi({ secretKey: clerk.secretKey, apiUrl: clerk.apiUrl })
  const stop = new AbortController()
  const places: number[] = []
  const result = await writePages({
    api: whole,
    total: 1_500,
    lanes: 1,
    store: {
      async apply(changes) {
        stop.abort()
        return changes.map(() => ({ outcome: 'applied', created: false }))
      },
      savePlace: async ({ users }) => void places.push(users),
    },
    signal: stop.signal,
  })
  t.strictSame([result.isComplete, result.updated, result.users, result.place.users], [false, 500, 500, 500])
  t.strictSame(places, [500])
})

test('the progress never moves past a page that was not written', async (t) => {
  const clerk = await createClerkEmulator()
  t.teardown(() => clerk.close())
  clerk.seedUsers(1_500)
  const [first] = [...clerk.users()]
  let saved: readonly Lane[] = []
  let isAnotherWritten = () => {}
  const another = new Promise<void>((done) => (isAnotherWritten = done))
  const run = writePages({
    api: createBackendApi({ secretKey: clerk.secretKey, apiUrl: clerk.apiUrl }),
    total: 1_500,
    lanes: 3,
    store: {
      async apply(changes) {
        // PostgreSQL comes back after the patience with the first page is at its end, and in time for the others.
        if (changes[0]?.user?.id === first?.id) {
          await another
          throw new DatabaseUnavailable()
        }
        return changes.map(() => ({ outcome: 'applied', created: true }))
      },
      savePlace: async ({ lanes }) => {
        saved = lanes
        isAnotherWritten()
      },
    },
    patienceMs: 0,
    signal: new AbortController().signal,
  })
  await t.rejects(run, { code: 'DATABASE_UNAVAILABLE' })
  const open = saved.filter(({ after }) => after === undefined)
  t.equal(open.length, 1, 'the first lane stays where it began')
  t.equal(open[0]?.cursor, undefined)
})

test('an error with organizations ends the run after all users; the next run starts there', async (t) => {
  const clerk = await createClerkEmulator({ secretKey: 'sk_live_backfill' })
  t.teardown(() => clerk.close())
  clerk.seedUsers(1_200)
  clerk.organizations.create({})
  const api = createBackendApi({ secretKey: clerk.secretKey, apiUrl: clerk.apiUrl })
  const { database, query } = await createTestJobDatabase(t)
  const run = (more: Partial<BackfillOptions> = {}) =>
    backfill({ database, api, signal: new AbortController().signal, waitMs: 5_000, ...more })
  const list = () => Promise.reject(new Error('no organizations today'))
  await t.rejects(run({ api: { ...api, list } }), /no organizations today/)
  t.match(await query('select count(*)::int from users'), [{ count: 1_200 }])
  t.match(await query(`select (state->>'users')::int as users from sync_state`), [{ users: 1_200 }])
  clerk.createUser({ id: 'user_late' })
  t.match(await run(), {
    isComplete: true,
    resumedAfter: 1_200,
    users: 1,
    created: 1,
    organizations: { organization: { checked: 1 } },
  })
  t.strictSame(await query('select job from sync_state'), [])
})
