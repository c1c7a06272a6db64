import { type Test, test } from 'tap'
import type { TestDatabase } from '../helpers/database.ts'
import { type ServiceOptions, startService } from '../helpers/service.ts'
import { waitUntil } from '../helpers/wait-until.ts'

/** A service that catches up all the time, and whose webhooks can be lost. */
async function start(t: Test, options: ServiceOptions = {}) {
  const lines: string[] = []
  const service = await startService(t, {
    change: (all) => ({
      ...all,
      catchingUp: all.reconciling && { ...all.reconciling, intervalMs: 20, transitMs: -1_000 },
      reconciling: undefined,
    }),
    log: (line) => lines.push(line),
    ...options,
    settings: { RECONCILE_INTERVAL_MINUTES: '1', ...options.settings },
  })
  const until = (text: string) => waitUntil(text, async () => lines.some((line) => line.includes(text)))
  return { ...service, lines, until }
}

const hasRun =
  ({ query }: TestDatabase) =>
  async () =>
    (await query(`select 1 from sync_state where job = 'catch-up'`)).length > 0

test('the catch-up applies the change of a lost webhook; health, doctor and metrics report it', async (t) => {
  const { clerk, database, call, until, lines } = await start(t)
  await waitUntil('the first run', hasRun(database))
  clerk.webhooks.dropNext(1)
  const ada = clerk.createUser({ email: 'ada@example.com' })
  await until('webhooks were lost')
  t.strictSame(await database.query('select id from users where email = $1', ['ada@example.com']), [{ id: ada.id }])
  const line = JSON.parse(lines.find((text) => text.includes('webhooks were lost')) as string)
  t.match(line, { level: 40, healed: { created: 1 }, lost: { created: 1, updated: 0, deleted: 0 } })
  const { body } = await call('/readyz')
  t.equal(body.checks.webhooks.status, 'degraded')
  t.match(body.checks.webhooks.reason, /^webhooks lost: 1 today/)
  t.match((await call('/metrics')).body, /clerk_session_sync_webhooks_lost_total\{change="created"\} 1/)
})

test('without webhooks the catch-up applies all changes, and none counts as lost', async (t) => {
  const { clerk, database, until, lines } = await start(t, {
    settings: { CLERK_WEBHOOK_SIGNING_SECRET: '' },
  })
  await waitUntil(
    'the first run',
    async () => (await database.query(`select 1 from sync_state where job = 'catch-up'`)).length > 0,
  )
  clerk.createUser({ email: 'ada@example.com' })
  await until('caught up with Clerk')
  t.strictSame(await database.query('select email from users'), [{ email: 'ada@example.com' }])
  t.notOk(lines.some((line) => line.includes('webhooks were lost')))
})

test('too many deletions are an error in the log', async (t) => {
  const { clerk, database, until } = await start(t, {
    onEmulator: (emulator) => void emulator.seedUsers(12),
  })
  await waitUntil('all users', async () => (await database.query('select 1 from users')).length === 12)
  clerk.webhooks.dropNext(12)
  for (const { id } of [...clerk.users()]) clerk.deleteUser(id)
  await until('too many users are missing at Clerk')
  t.equal((await database.query('select 1 from users where deleted_at is null')).length, 12)
})

test('with an interval of 0 or without a secret key, it never calls Clerk', async (t) => {
  for (const options of [{}, { settings: { CATCH_UP_INTERVAL_SECONDS: '1' }, hasSecretKey: false }]) {
    const { app } = await startService(t, options)
    t.notMatch(app.printPlugins(), 'clerk-catching-up')
  }
  const { app } = await startService(t, { settings: { CATCH_UP_INTERVAL_SECONDS: '1' } })
  t.match(app.printPlugins(), 'clerk-catching-up')
})
