import { type Test, test } from 'tap'
import { type BackendApiOptions, createBackendApi } from '../../src/clerk/backend-api.ts'
import { remainingDrift } from '../../src/domain/drift.ts'
import { type ClerkEmulatorOptions, createClerkEmulator } from '../../src/emulator/index.ts'
import type { JobDatabase } from '../../src/jobs/database.ts'
import { type ReconcileOptions, type ReconcileRun, reconcile } from '../../src/jobs/reconcile.ts'
import { createTestJobDatabase } from '../helpers/job-database.ts'
import { waitUntil } from '../helpers/wait-until.ts'

// PostgreSQL takes a moment to notice that the connection of the run before is closed.
const LOCK_WAIT_MS = 5_000

async function start(t: Test, options: Partial<BackendApiOptions> = {}, emulator: ClerkEmulatorOptions = {}) {
  const clerk = await createClerkEmulator(emulator)
  t.teardown(() => clerk.close())
  clerk.seedUsers(2)
  const api = createBackendApi({ secretKey: clerk.secretKey, apiUrl: clerk.apiUrl, ...options })
  const { database, query } = await createTestJobDatabase(t)
  const run = (more: Partial<ReconcileOptions> = {}) =>
    reconcile({ database, api, signal: new AbortController().signal, isFixing: true, waitMs: LOCK_WAIT_MS, ...more })
  return { clerk, database, query, run }
}

function reportOf(run: ReconcileRun) {
  if (run.state !== 'done') throw new Error(run.state)
  return run.report
}

test('a row whose version is ahead and could not be reset still drifts; a row that a webhook moved ahead meanwhile does not', async (t) => {
  const { clerk, database, query, run } = await start(t)
  const [ahead, missing] = [...clerk.users()].map(({ id }) => id)
  await query(`insert into users (id, sync_source, clerk_updated_at) values ($1, 'webhook', '2090-01-01')`, [ahead])
  const repository: JobDatabase['repository'] = {
    ...database.repository,
    async apply(changes) {
      // Somebody else writes at the last moment.
      await query(`update users set clerk_updated_at = '2091-01-01'`)
      const results = await database.repository.apply(changes)
      await query(`update users set clerk_updated_at = '2091-01-01'`)
      return results
    },
  }
  const report = reportOf(await run({ database: { ...database, repository } }))
  t.strictSame(report.drift, {
    missing: { count: 1, repaired: 1, sample: [missing] },
    stale: { count: 0, repaired: 0, sample: [] },
    newer: { count: 1, repaired: 0, sample: [ahead] },
    gone: { count: 0, repaired: 0, sample: [] },
  })
  t.equal(remainingDrift(report), 1)
})

test('while Clerk is unreachable, no user counts as deleted', async (t) => {
  const { clerk, query, run } = await start(t, { maxAttempts: 2, firstPauseMs: 1 })
  await query(`insert into users (id, sync_source, clerk_updated_at) values ('user_unlisted', 'webhook', now())`)
  for (const fault of ['error', { status: 429 }, 'html', 'empty', 'reset'] as const) {
    clerk.faults.api = undefined
    const running = run({
      // All are listed by now; whom Clerk did not list is asked for next.
      onProgress() {
        clerk.faults.api = fault
      },
    })
    await t.rejects(running, { message: /Clerk's Backend API: .*, 2 times/ }, JSON.stringify(fault))
  }
  t.strictSame(await query(`select deleted_at from users where id = 'user_unlisted'`), [{ deleted_at: null }])
})

test('one reconcile at a time; after a complete repair the next one is skipped', async (t) => {
  const { database, query, run } = await start(t)
  const looked = await run({ isFixing: false, notWithinMs: 60_000 })
  t.equal(looked.state, 'done')
  t.strictSame(await query('select job from sync_state'), [], 'one that repairs nothing spares nobody')
  const { startedAt } = reportOf(await run({ notWithinMs: 60_000 }))
  t.strictSame(await run({ notWithinMs: 60_000 }), { state: 'recent', startedAt })
  t.equal((await run()).state, 'done', 'unless it is asked for')
  const during = await database.whenAlone('reconcile', () => run({ waitMs: 0 }), LOCK_WAIT_MS)
  t.strictSame(during?.result, { state: 'busy' })
})

test("a version that Clerk's replicas may not show yet is compared again later", async (t) => {
  const clock = { nowMs: Date.now() }
  const { clerk, query, run } = await start(t, {}, { now: () => clock.nowMs })
  await run()
  const id = [...clerk.users()][0]?.id as string
  const newer = async () => reportOf(await run({ replicaLagMs: 2_000 })).drift.newer
  // What a webhook has just told, and a replica of Clerk's does not show yet.
  const version = Date.now() + 1_500
  await query(`update users set first_name = 'Ada', clerk_updated_at = to_timestamp($2::float8 / 1000) where id = $1`, [
    id,
    version,
  ])
  const asked = clerk.stats.apiRequests
  const running = newer()
  await waitUntil('the question about this user', async () => clerk.stats.apiRequests === asked + 3)
  clock.nowMs = version
  clerk.updateUser(id, { firstName: 'Ada' })
  t.strictSame(await running, { count: 0, repaired: 0, sample: [] })

  await query(`update users set clerk_updated_at = clerk_updated_at + interval '1 second' where id = $1`, [id])
  t.strictSame(await newer(), { count: 1, repaired: 1, sample: [id] }, 'and no longer than that')
})
