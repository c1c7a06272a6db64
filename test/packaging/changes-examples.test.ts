/** The examples of examples/changes, with the real engines. */
import { join } from 'node:path'
import { runMigrations, runOnce } from 'graphile-worker'
import { PgBoss } from 'pg-boss'
import { test } from 'tap'
import { enqueueByGraphileWorker } from '../../examples/changes/graphile-worker.ts'
import { enqueueByPgBoss } from '../../examples/changes/pg-boss.ts'
import type { OnChange } from '../../src/db/changes/on-change.ts'
import { createClerkEmulator } from '../../src/emulator/index.ts'
import { PUSH_SECRET } from '../helpers/change-receiver.ts'
import { createDatabase } from '../helpers/database.ts'
import { freePorts, ROOT, runProgram } from '../helpers/process.ts'
import { startService } from '../helpers/service.ts'
import { waitUntil } from '../helpers/wait-until.ts'

async function startWith(
  t: Parameters<typeof startService>[0],
  database: Awaited<ReturnType<typeof createDatabase>>,
  onChange: OnChange,
) {
  const clerk = await createClerkEmulator()
  t.teardown(() => clerk.close())
  const service = await startService(t, {
    beside: { clerk, database },
    settings: { CHANGES: 'true' },
    change: (options) => ({ ...options, database: { ...options.database, onChange } }),
  })
  clerk.webhooks.url = `${service.url}/clerk`
  return service
}

test('pg-boss: a job for each new user, in the same transaction', async (t) => {
  const database = await createDatabase(t)
  const boss = new PgBoss({ connectionString: database.url, supervise: false, schedule: false })
  boss.on('error', () => undefined)
  await boss.start()
  t.teardown(() => boss.stop({ graceful: false }))
  await boss.createQueue('welcome-mail')
  const { clerk } = await startWith(t, database, enqueueByPgBoss(boss, 'welcome-mail'))
  const users = [clerk.createUser(), clerk.createUser()]
  await clerk.webhooks.idle()
  clerk.updateUser((users[0] as { id: string }).id, { firstName: 'B' })
  await clerk.webhooks.idle()
  const found = await boss.fetch('welcome-mail', { batchSize: 10 })
  t.strictSame(found.map(({ data }) => (data as { userId: string }).userId).sort(), users.map(({ id }) => id).sort())
  t.match(found[0], { data: { changeId: /^chg_\d+$/ } })
})

test('graphile-worker: a job for each new user, in the same transaction', async (t) => {
  const database = await createDatabase(t)
  await runMigrations({ connectionString: database.url })
  const { clerk } = await startWith(t, database, enqueueByGraphileWorker('welcome-mail'))
  const { id } = clerk.createUser()
  await clerk.webhooks.idle()
  const mailed: unknown[] = []
  await runOnce({
    connectionString: database.url,
    noHandleSignals: true,
    logger: new (await import('graphile-worker')).Logger(() => () => undefined),
    taskList: { 'welcome-mail': async (payload) => void mailed.push(payload) },
  })
  t.match(mailed, [{ userId: id, changeId: /^chg_\d+$/ }])
  t.equal(mailed.length, 1)
})

test('Python: a receiver verifies pushed changes, and refuses forged ones', async (t) => {
  const port = await freePorts()
  const python = runProgram(t, 'python3', [join(ROOT, 'examples/changes/receiver.py'), String(port)], {
    CHANGES_WEBHOOK_SECRET: PUSH_SECRET,
  })
  await python.until(/listening on/)
  const url = `http://127.0.0.1:${port}`
  const { clerk } = await startService(t, {
    settings: { CHANGES: 'true', CHANGES_WEBHOOK_URL: url, CHANGES_WEBHOOK_SECRET: PUSH_SECRET },
  })
  const { id } = clerk.createUser()
  await waitUntil('the change', async () => python.output().includes(`user.created ${id}`))
  const forged = { method: 'POST', body: '{"type":"user.deleted","data":{"id":"user_1"}}' }
  for (const headers of [
    {},
    { 'webhook-id': 'chg_1', 'webhook-timestamp': '1', 'webhook-signature': 'v1,x' },
    {
      'webhook-id': 'chg_1',
      'webhook-timestamp': String(Math.floor(Date.now() / 1000)),
      'webhook-signature': 'v1,x v2,y',
    },
  ] as Record<string, string>[]) {
    t.equal((await fetch(url, { ...forged, headers })).status, 401)
  }
})
