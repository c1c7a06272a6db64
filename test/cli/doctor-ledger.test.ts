/** What `doctor` says of the ledger, the change feed and a pooler in between. */
import { test } from 'tap'
import { reasonOf } from '../../src/cli/doctor/check.ts'
import { startCommandLine } from '../helpers/command-line.ts'
import { startPgBouncer } from '../helpers/pgbouncer.ts'

interface Line {
  name: string
  status: string
  detail: string
  remedy?: string
}

test('events of another instance, and webhooks that were lost, are warnings with their remedies', async (t) => {
  const { run, database } = await startCommandLine(t)
  await run('migrate')
  await database.query(`insert into webhook_events (id, type, outcome, error, instance_id)
    values ('msg_1', 'user.created', 'ignored', 'of another Clerk instance', 'ins_other')`)
  const day = new Date().toISOString().slice(0, 10)
  await database.query(`insert into sync_state (job, state) values ('catch-up', $1)`, [
    { lost: { day, created: 1, updated: 2, deleted: 0 } },
  ])
  const { checks } = (await run('doctor', '--json')).json as { checks: Line[] }
  const find = (name: string) => checks.find((check) => check.name === name)
  t.match(find('foreign events'), {
    status: 'warn',
    detail: '1 of another Clerk instance (ins_other) in the last day',
    remedy: /CLERK_WEBHOOK_SIGNING_SECRET/,
  })
  t.match(find('lost webhooks'), { status: 'warn', detail: '3 today, repaired by the catch-up', remedy: /endpoint/ })
})

test('the change feed is reported if it is off despite CHANGES=true, behind, waiting, or has dead letters', async (t) => {
  const { run, database, env } = await startCommandLine(t, {}, { CHANGES_TOKEN: 'token-of-the-feed' })
  await run('migrate')
  const feed = async () =>
    ((await run('doctor', '--json')).json.checks as Line[])
      .filter(({ name }) => name === 'change feed')
      .map(({ status, detail }) => `${status} ${detail}`)
  t.strictSame(await feed(), ['warn off, although CHANGES_TOKEN or CHANGES_WEBHOOK_URL is set'])
  delete env.CHANGES_TOKEN
  t.strictSame(await feed(), [], 'nothing where nobody wants it')
  env.CHANGES = 'true'
  await run('migrate')
  t.strictSame(await feed(), ['pass on, 0 consumers'])
  await database.query(`insert into change_consumers (name, xid, seq) values ('mail', '1', 0)`)
  await database.query(`insert into users (id, sync_source) values ('user_1', 'x')`)
  await database.query(`update changes set occurred_at = now() - interval '10 minutes'`)
  await database.query(`insert into change_deliveries (consumer, xid, seq, entity, entity_id, op, attempts, dead_at)
    values ('mail', '5', 7, 'user', 'user_1', 'created', 8, now()), ('mail', '5', 8, 'user', 'user_2', 'deleted', 1, null)`)
  const [given, behind, waiting] = await feed()
  t.equal(given, 'warn given up for mail: 1 change')
  t.match(behind, /^warn mail is 1 change and 10 min.* behind$/)
  t.equal(waiting, 'warn waiting for mail: 1 change')
})

test('doctor reports a pooler that refuses startup parameters, and continues', async (t) => {
  const { run, database, env } = await startCommandLine(t)
  await run('migrate')
  const pooler = await startPgBouncer(t, database.url, { mode: 'session' })
  env.DATABASE_URL = pooler
  t.equal((await run('doctor', '--json')).json.checks.find(({ name }: Line) => name === 'database').status, 'pass')
  env.DATABASE_URL = `${pooler}?options=-c%20work_mem%3D8MB`
  const { code, json } = await run('doctor', '--json')
  t.equal(code, 1)
  const checks = json.checks as Line[]
  t.match(
    checks.find(({ name }) => name === 'database'),
    { status: 'fail', detail: /startup parameter/, remedy: String },
  )
  t.ok(checks.some(({ name, status }) => name === 'keys (JWKS)' && status === 'pass'))
})

test("an error of TLS is its remedy; pg's errors without a message are their code", async (t) => {
  const untrusted = Object.assign(new Error('self-signed certificate in certificate chain'), {
    code: 'SELF_SIGNED_CERT_IN_CHAIN',
  })
  t.match(reasonOf(untrusted), /is not trusted .*sslrootcert=.*verify-full/)
  t.match(reasonOf(new Error('fetch failed', { cause: untrusted })), /sslrootcert=/)
  t.equal(reasonOf(Object.assign(new Error(''), { code: 'ECONNREFUSED' })), 'ECONNREFUSED')
})
