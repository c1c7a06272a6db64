import { execFileSync } from 'node:child_process'
import { copyFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import pg from 'pg'
import tap, { type Test, test } from 'tap'
import { migrate } from '../../src/db/migrate.ts'
import { type OwnPostgres, startOwnPostgres } from '../helpers/own-postgres.ts'
import { startService } from '../helpers/service.ts'
import { findSystemPostgres, NO_SYSTEM_POSTGRES } from '../helpers/system-postgres.ts'
import { createTcpProxy } from '../helpers/tcp-proxy.ts'
import { waitUntil } from '../helpers/wait-until.ts'

tap.setTimeout(900_000)

const [system] = findSystemPostgres()

/** A server that streams everything from the primary, and may only be read. */
async function startStandby(t: Test, primary: OwnPostgres, binaries: string): Promise<OwnPostgres> {
  const base = t.testdir()
  const directory = join(base, 'standby')
  execFileSync(join(binaries, 'pg_basebackup'), [
    '-D',
    directory,
    '-R',
    '-X',
    'stream',
    '-c',
    'fast',
    '-d',
    primary.url,
  ])
  const { uid, gid } = statSync(primary.directory)
  execFileSync('chown', ['-R', `${uid}:${gid}`, directory])
  copyFileSync(`${primary.directory}.password`, `${directory}.password`) // Its users are the primary's.
  return startOwnPostgres(t, { binaries, directory, settings: ['hot_standby=on'] })
}

async function query<Row>(url: string, sql: string): Promise<Row[]> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    return (await client.query(sql)).rows
  } finally {
    await client.end()
  }
}

test('a failover to a standby: reads continue, writes are 503 until it is promoted, then everything works again', {
  skip: system ? false : NO_SYSTEM_POSTGRES,
}, async (t) => {
  const { binaries } = system as NonNullable<typeof system>
  const primary = await startOwnPostgres(t, { binaries })
  await migrate(primary.url)
  const standby = await startStandby(t, primary, binaries)
  const proxy = await createTcpProxy(t, primary.url)
  const { clerk, call } = await startService(t, { settings: { DATABASE_URL: proxy.url } })
  const ada = clerk.createUser({ email: 'ada@example.com' })
  const token = clerk.sessionToken(clerk.signIn(ada.id).id)
  await clerk.webhooks.idle()
  const [written] = await query<{ lsn: string }>(primary.url, 'select pg_current_wal_lsn() as lsn')
  await waitUntil('the standby having caught up', async () => {
    const [row] = await query<{ done: boolean }>(
      standby.url,
      `select pg_last_wal_replay_lsn() >= '${written?.lsn}' as done`,
    )
    return row?.done === true
  })

  await primary.kill()
  proxy.leadTo(standby.url)
  await waitUntil('the standby being read', async () => (await call('/api/auth/profile', { token })).status === 200)
  t.match(await call('/readyz'), {
    status: 200,
    body: { status: 'degraded', checks: { database: { status: 'degraded', reason: /^read-only/ } } },
  })
  const grace = clerk.createUser({ email: 'grace@example.com' })
  const newcomer = clerk.sessionToken(clerk.signIn(grace.id).id)
  const refused = await call('/api/auth/profile', { token: newcomer })
  t.match(refused, { status: 503, body: { code: 'DATABASE_UNAVAILABLE' } }, 'what would have to be written')
  t.ok(refused.headers.get('retry-after'))
  const body = JSON.stringify({ type: 'user.deleted', timestamp: Date.now(), data: { id: 'user_gone', deleted: true } })
  const headers = { 'content-type': 'application/json', ...clerk.sign(body, { id: 'msg_1' }) }
  const webhook = () => call('/clerk', { method: 'POST', headers, body })
  t.match(await webhook(), { status: 503, body: { code: 'DATABASE_UNAVAILABLE' } })

  await query(standby.url, 'select pg_promote()')
  await waitUntil('webhooks being written', async () => (await webhook()).status === 200)
  t.match(await call('/api/auth/profile', { token: newcomer }), { status: 200, body: { user: { id: grace.id } } })
  t.match(await query(standby.url, "select outcome from clerk.webhook_events where id = 'msg_1'"), [
    { outcome: 'applied' },
  ])
})
