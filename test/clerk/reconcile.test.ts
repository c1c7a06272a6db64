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
  const client = await pool.connect()
  t.teardown(() => client.release())
  const store = await createReconcileStore(client, repository)
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
