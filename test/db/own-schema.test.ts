import { test } from 'tap'
import { migrate } from '../../src/db/migrate.ts'
import { createClerkEmulator } from '../../src/emulator/index.ts'
import { createDatabase } from '../helpers/database.ts'
import { startService } from '../helpers/service.ts'

test('the whole service works in a schema of its own', async (t) => {
  const database = await createDatabase(t, { isEmpty: true })
  await migrate(database.url, { schema: 'clerk' })
  const clerk = await createClerkEmulator()
  t.teardown(() => clerk.close())
  const { call, url } = await startService(t, {
    beside: { clerk, database },
    change: (options) => ({ ...options, database: { ...options.database, schema: 'clerk' } }),
  })
  clerk.webhooks.url = `${url}/clerk`
  const ada = clerk.createUser({ firstName: 'Ada' })
  const token = clerk.sessionToken(clerk.signIn(ada.id).id)
  await clerk.webhooks.idle()
  t.match(await database.query('select outcome from clerk.webhook_events'), [{}, {}, {}])
  t.match(await call('/api/auth/profile', { token }), { status: 200, body: { user: { firstName: 'Ada' } } })
  t.match(await call('/api/auth/sync-user', { method: 'POST', token }), { status: 200 })
  t.match(await call('/readyz'), { status: 200 })
  t.match(await database.query("select count(*)::int from pg_tables where schemaname = 'public'"), [{ count: 0 }])
})
