import { test } from 'tap'
import { createBulkApi } from '../../src/clerk/bulk-api.ts'
import { reconcile } from '../../src/clerk/reconcile.ts'
import { createReconcileStore } from '../../src/db/reconcile-store.ts'
import { remainingDrift } from '../../src/domain/drift.ts'
import { createClerkEmulator } from '../../src/emulator/index.ts'
import { startRepository } from '../helpers/repository.ts'

test('a version that is ahead and could not be set back still drifts; one that came meanwhile does not', async (t) => {
  const clerk = await createClerkEmulator()
  t.teardown(() => clerk.close())
  clerk.seedUsers(2)
  const api = createBulkApi({ secretKey: clerk.secretKey, apiUrl: clerk.apiUrl })
  const { repository, pool, database } = await startRepository(t)
  const store = await createReconcileStore(pool, repository)
  const [ahead, missing] = [...clerk.users()].map(({ id }) => id)
  await database.query(
    `insert into users (id, sync_source, clerk_updated_at) values ($1, 'webhook', '2090-01-01')`, //
    [ahead],
  )
  const report = await reconcile({
    api,
    store: {
      ...store,
      async apply(changes) {
        // Somebody else writes at the last moment.
        await database.query(`update users set clerk_updated_at = '2091-01-01'`)
        const results = await store.apply(changes)
        await database.query(`update users set clerk_updated_at = '2091-01-01'`)
        return results
      },
    },
    signal: new AbortController().signal,
    isFixing: true,
    expectedSince: Date.now(),
  })
  t.match(report.drift, {
    newer: { count: 1, repaired: 0, sample: [ahead] },
    missing: { count: 1, repaired: 1, sample: [missing] },
  })
  t.equal(remainingDrift(report), 1)
})

test('while Clerk is away nobody is taken for gone', async (t) => {
  const clerk = await createClerkEmulator()
  t.teardown(() => clerk.close())
  clerk.seedUsers(2)
  const { repository, pool, database } = await startRepository(t)
  await database.query(
    `insert into users (id, sync_source, clerk_updated_at) values ('user_unlisted', 'webhook', now())`,
  )
  for (const fault of ['error', { status: 429 }, 'html', 'empty', 'reset'] as const) {
    clerk.faults.api = undefined
    const api = createBulkApi({ secretKey: clerk.secretKey, apiUrl: clerk.apiUrl, maxAttempts: 2, firstPauseMs: 1 })
    const run = reconcile({
      api,
      store: await createReconcileStore(pool, repository),
      signal: new AbortController().signal,
      isFixing: true,
      expectedSince: Date.now(),
      // All are listed by now; whom Clerk did not list is asked for next.
      onProgress() {
        clerk.faults.api = fault
      },
    })
    await t.rejects(run, { message: /Clerk's Backend API: .*, 2 times/ }, JSON.stringify(fault))
  }
  t.match(await database.query(`select deleted_at from users where id = 'user_unlisted'`), [{ deleted_at: null }])
})
