import { test } from 'tap'
import { startCommandLine } from '../helpers/command-line.ts'
import { createDatabase } from '../helpers/database.ts'
import { startService } from '../helpers/service.ts'

test('other formats of dates, intervals and floats in the database do not matter', async (t) => {
  const database = await createDatabase(t)
  const name = new URL(database.url).pathname.slice(1)
  for (const setting of [
    `datestyle = 'German, DMY'`,
    `intervalstyle = 'sql_standard'`,
    `timezone = 'Asia/Kathmandu'`,
    'extra_float_digits = 0',
    `bytea_output = 'escape'`,
  ]) {
    await database.query(`alter database ${name} set ${setting}`)
  }
  const { clerk } = await startCommandLine(t)
  const service = await startService(t, {
    settings: { DATABASE_URL: database.url, DASHBOARD_TOKEN: 'x'.repeat(40) },
    beside: { clerk, database },
  })
  clerk.webhooks.url = `${service.url}/clerk`
  const ada = clerk.createUser({ firstName: 'Ada' })
  const session = clerk.signIn(ada.id)
  const token = clerk.sessionToken(session.id)
  await clerk.webhooks.idle()
  const profile = await service.call('/api/auth/profile', { token })
  t.equal(profile.status, 200)
  const [row] = await database.query<{ created: string; signed: string }>(
    `select (extract(epoch from created_at) * 1000)::bigint as created,
      (extract(epoch from last_sign_in_at) * 1000)::bigint as signed from users`,
  )
  t.equal(profile.body.user.createdAt, new Date(Number(row?.created)).toISOString())
  t.equal(profile.body.user.lastSignInAt, new Date(Number(row?.signed)).toISOString())
  const health = await service.call('/api/auth/health')
  t.equal(health.body.status, 'ok')

  const env = {
    DATABASE_URL: database.url,
    CLERK_API_URL: clerk.apiUrl,
    CLERK_SECRET_KEY: clerk.secretKey,
    CLERK_ISSUER: clerk.issuer,
  }
  const { run } = await startCommandLine(t, {}, env)
  await database.query(
    `insert into webhook_events (id, type, outcome, payload, error) values ('msg_failed', 'user.updated', 'failed', '{}', 'why')`,
  )
  const listed = await run('replay', '--list', '--json')
  t.match(
    JSON.stringify(listed.json),
    new RegExp(`"receivedAt":"${new Date().getUTCFullYear()}-\\d\\d-\\d\\dT[0-9:.]+Z"`),
  )
  await database.query(`update users set clerk_updated_at = clerk_updated_at - interval '1 day' where id = $1`, [
    ada.id,
  ])
  t.match((await run('reconcile', '--fix', '--json')).json, {
    remaining: 0,
    drift: { stale: { count: 1, repaired: 1 }, newer: { count: 0 } },
  })
  t.equal((await run('backfill', '--restart')).code, 0)
  const { json } = await run('user', ada.id, '--json')
  t.match(JSON.stringify(json), /"created_at":"\d{4}-\d\d-\d\dT/)
  t.match((await run('prune', '--days', '1', '--json')).code, 0)
})
