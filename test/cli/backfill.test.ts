import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { type Test, test } from 'tap'
import { withLease } from '../../src/db/lease.ts'
import { createPool } from '../../src/db/pool.ts'
import type { ClerkEmulator } from '../../src/emulator/index.ts'
import { snapshotFromApi } from '../../src/resources/user/change.ts'
import { startCommandLine } from '../helpers/command-line.ts'
import type { TestDatabase } from '../helpers/database.ts'
import { startService } from '../helpers/service.ts'
import { waitUntil } from '../helpers/wait-until.ts'

/** Every row is what Clerk says, and nobody is too many or too few. */
async function assertEqual(t: Test, clerk: ClerkEmulator, database: TestDatabase): Promise<void> {
  const rows = await database.query(
    `select id, email, last_name, public_metadata, (extract(epoch from clerk_updated_at) * 1000)::float8 as version
     from users where deleted_at is null`,
  )
  const here = new Map(rows.map(({ id, ...row }) => [id, row]))
  let different = 0
  let users = 0
  for (const user of clerk.users()) {
    const { profile, version } = snapshotFromApi(user)
    users += 1
    const expected = [profile.email, profile.lastName, JSON.stringify(profile.publicMetadata), version.updatedAt]
    const row = here.get(user.id)
    const found = row && [row.email, row.last_name, JSON.stringify(row.public_metadata), row.version]
    if (JSON.stringify(found) !== JSON.stringify(expected)) {
      different += 1
      if (different <= 3) t.strictSame(found, expected, user.id)
    }
  }
  t.equal(different, 0, 'every row is what Clerk says')
  t.equal(rows.length, users, 'as many rows as users')
}

const LIVE = 'sk_live_abcdefghijklmnopqrstuvwxyz0123456789'

const USERS = 10_000
const CHANGES = USERS / 500 - 2

test('a backfill of 10,000 users, with faults, rate limits, a kill and concurrent changes', async (t) => {
  const { clerk, database } = await startService(t, {
    clerk: { secretKey: LIVE, rateLimit: { requests: 8, windowMs: 1_000 }, deletedCursor: 'reject' },
  })
  clerk.seedUsers(USERS)
  const { start, run } = await startCommandLine(
    t,
    {},
    {
      DATABASE_URL: database.url,
      CLERK_ISSUER: clerk.issuer,
      CLERK_API_URL: clerk.apiUrl,
      CLERK_SECRET_KEY: clerk.secretKey,
    },
  )
  const place = async (): Promise<number> =>
    (await database.query(`select state from sync_state where job = 'backfill'`))[0]?.state.users ?? 0
  const pagesAsked = () => clerk.stats.apiRequestsByPath['GET /v1/users'] ?? 0

  const seed = (number: number) => `user_2Seed${String(number).padStart(22, '0')}`
  // Faults for a while, updates, deletions, sign-ups, their webhooks delivered.
  let isOver = false
  let changed = 0
  const weather = (async () => {
    for (let n = 0; !isOver; n += 1) {
      const fault = ([undefined, 'error', undefined, 'reset', undefined, 'html', undefined, { delayMs: 50 }] as const)[
        n % 8
      ]
      clerk.faults.api = n < 300 ? fault : undefined
      for (; changed < Math.min(CHANGES, pagesAsked()); changed += 1) {
        // The last of each page: the cursor of whoever has just read it.
        clerk.deleteUser(seed(changed * 500 + 499))
        clerk.updateUser(seed(changed * 500 + 250), { lastName: `Changed ${changed}` })
        clerk.createUser({ email: `new-${changed}@example.com` })
      }
      await sleep(20)
    }
    clerk.faults.api = undefined
  })()

  const killed = start('backfill')
  await waitUntil('some pages', async () => (await place()) >= 1_000)
  killed.child.kill('SIGKILL')
  t.equal(await killed.exit, 'SIGKILL')
  const before = await place()

  const stopped = start('backfill', '--json')
  await waitUntil('some more', async () => (await place()) >= before + 1_000)
  stopped.child.kill('SIGINT')
  t.equal(await stopped.exit, 130, stopped.output())
  const partial = JSON.parse(stopped.stdout())
  t.strictSame([partial.isComplete, partial.resumedAfter, partial.refused], [false, before, 0])
  t.match(stopped.output(), /stopping after the current step/)

  const askedBefore = pagesAsked()
  const last = await run('backfill', '--json')
  isOver = true
  await weather
  t.equal(last.code, 0, last.output)
  const { isComplete, resumedAfter, refused } = last.json
  t.strictSame([isComplete, resumedAfter, refused], [true, before + partial.users, 0])
  const left = USERS + CHANGES + 500 - resumedAfter
  t.ok(last.json.users <= left, `it did not start over: ${last.json.users} of ${left}`)
  t.ok(pagesAsked() > askedBefore)
  t.equal(changed, CHANGES, 'all of it happened')

  await clerk.webhooks.idle()
  await assertEqual(t, clerk, database)
  t.strictSame(await database.query(`select * from sync_state where job = 'backfill'`), [], 'the next one begins anew')
  t.ok((await database.query('select 1 from users where deleted_at is not null')).length > 0)
})

test('Retry-After is honoured, and shown', async (t) => {
  const { clerk, database, run } = await startCommandLine(t)
  clerk.seedUsers(1_200)
  // A limit that the client does not know of.
  clerk.faults.api = { status: 429, headers: { 'retry-after': '1' } }
  const restored = waitUntil('the first request', async () => clerk.stats.apiRequests > 0).then(() => {
    clerk.faults.api = undefined
  })
  const { code, json, output } = await run('backfill', '--json')
  await restored
  t.equal(code, 0, output)
  t.match(output, /Clerk's Backend API \(http:.+\): status 429, trying again in 1\.0 s/)
  const { seconds, usersPerSecond, rateLimited, retries, organizations, ...counts } = json
  t.match(organizations, { organization: { checked: 0 } })
  t.ok(seconds > 1 && usersPerSecond > 0)
  t.ok(rateLimited > 0 && rateLimited === retries)
  t.strictSame(counts, {
    pages: 3,
    users: 1_200,
    created: 1_200,
    updated: 0,
    unchanged: 0,
    refused: 0,
    isComplete: true,
    resumedAfter: 0,
    // The count, the two ends, a page of each lane, organizations.
    requests: 7 + retries,
  })
  await assertEqual(t, clerk, database)
})

test('a dry run writes nothing, and says what a backfill would do', async (t) => {
  const { clerk, database, run } = await startCommandLine(t)
  clerk.seedUsers(3)
  t.strictSame((await run('backfill', '--dry-run', '--json')).json, {
    isDryRun: true,
    isComplete: true,
    users: 3,
    wouldCreate: 3,
    wouldUpdate: 0,
    unchanged: 0,
    refused: 0,
  })
  t.strictSame(await database.query('select id from users'), [])
  t.equal((await run('backfill')).code, 0)
  clerk.createUser()
  clerk.updateUser([...clerk.users()][0]?.id ?? '', { firstName: 'Ada' })
  const { code, output } = await run('backfill', '--dry-run')
  t.equal(code, 0)
  t.match(output, /Of 4 users a backfill would create 1 and update 1; 2 are up to date/)
  const again = await run('backfill')
  t.match(again.output, /4 users in .*: 1 created, 1 updated, 2 unchanged, 0 refused/)
})

test('--restart starts again, and so does progress that Clerk no longer knows', async (t) => {
  const { clerk, database, run } = await startCommandLine(t)
  clerk.seedUsers(600)
  const ids = [...clerk.users()].map(({ id }) => id)
  const setPlace = (place: object) =>
    database.query(
      `insert into sync_state (job, state) values ('backfill', $1) on conflict (job) do update set state = $1`,
      [{ ...place, users: 500, startedAt: new Date().toISOString() }],
    )
  await setPlace({ lanes: [{ cursor: ids[499] }] })
  const resumed = await run('backfill')
  t.match(resumed.output, /Resuming after 500 users, started .*; --restart starts again/)
  t.match(resumed.output, /100 users in .*\n500 had been copied by an earlier run/)
  await setPlace({ lanes: [{ cursor: 'user_nobody' }] })
  const { users, created } = (await run('backfill', '--json')).json
  t.strictSame([users, created], [600, 500])
  await setPlace({ lanes: [{ cursor: ids[499] }] })
  const anew = (await run('backfill', '--restart', '--json')).json
  t.strictSame([anew.users, anew.unchanged, anew.resumedAfter], [600, 600, 0])
  await setPlace({ trail: [ids[499]] })
  const other = (await run('backfill', '--json')).json
  t.strictSame([other.users, other.resumedAfter], [600, 0], 'a place of an earlier version is not gone on from')
})

test('--lanes sets how many pages are read in parallel', async (t) => {
  const { clerk, database, run } = await startCommandLine(t, { secretKey: LIVE })
  clerk.seedUsers(5_000)
  const pagesAt = () => clerk.stats.apiRequestsByPath['GET /v1/users'] ?? 0
  const one = await run('backfill', '--lanes', '1', '--json')
  t.strictSame([one.json.created, pagesAt()], [5_000, 11], 'no question but the pages')
  const four = await run('backfill', '--lanes', '4', '--json')
  t.equal(four.json.unchanged, 5_000)
  const progress = four.output.split('\n').find((line) => line.startsWith('{"progress"')) ?? ''
  t.match(JSON.parse(progress).progress, { users: Number, total: 5_000, requests: Number, seconds: Number })
  t.equal((await run('backfill', '--dry-run', '--lanes', '3', '--json')).json.unchanged, 5_000)
  t.equal((await run('reconcile', '--lanes', '2', '--json')).json.checked, 5_000)
  for (const lanes of ['0', '65', 'x']) t.equal((await run('backfill', '--lanes', lanes)).code, 2, lanes)
  await assertEqual(t, clerk, database)
})

test('users that cannot be read or stored are reported, and the others are written', async (t) => {
  const { clerk, database, run } = await startCommandLine(t)
  const [ada, bob, eve] = ['ada', 'bob', 'eve'].map((name) => clerk.createUser({ email: `${name}@example.com` }).id)
  clerk.updateUser(bob as string, { publicMetadata: [] as never })
  await database.query(`alter table users add constraint no_eve check (email <> 'eve@example.com')`)
  const { code, output, json } = await run('backfill', '--json')
  t.equal(code, 1)
  t.strictSame([json.isComplete, json.users, json.created, json.refused], [true, 3, 1, 2])
  t.match(output, `${bob} could not be stored: an unexpected body`)
  t.match(output, `${eve} could not be stored: `)
  t.strictSame(await database.query('select id from users'), [{ id: ada }])
})

test('one backfill at a time', async (t) => {
  const { database, run } = await startCommandLine(t)
  const pool = createPool({ connectionString: database.url, onError: () => undefined })
  t.teardown(() => pool.end())
  await withLease(pool, 'backfill', async () => {
    const second = await run('backfill')
    t.equal(second.code, 1)
    t.match(second.output, /Another backfill is running on this database/)
  })
})

test('a lasting failure is one line with a remedy', async (t) => {
  const { clerk, run, env } = await startCommandLine(t)
  const wrongKey = await startCommandLine(t, {}, { ...env, CLERK_SECRET_KEY: 'sk_test_wrong' })
  const refused = await wrongKey.run('backfill')
  t.equal(refused.code, 1)
  t.match(
    refused.output,
    /^clerk-session-sync: Clerk's Backend API answered 401 to GET .*: CLERK_SECRET_KEY is not valid/,
  )
  const nowhere = await startCommandLine(t, {}, { DATABASE_URL: 'postgres://u:p@127.0.0.1:1/d' })
  const unreachable = await nowhere.run('backfill')
  t.equal(unreachable.code, 1)
  t.match(
    unreachable.output,
    /^clerk-session-sync: PostgreSQL is not available \(connect ECONNREFUSED 127\.0\.0\.1:1\): check DATABASE_URL, .*\n$/,
  )
  const unset = await startCommandLine(t, {}, { CLERK_SECRET_KEY: '' })
  t.match((await unset.run('backfill')).output, /CLERK_SECRET_KEY is missing/)
  clerk.faults.api = 'error'
  t.equal((await run('backfill', '--nonsense')).code, 2)
})

test('a dry run may be interrupted or refused, and a second Ctrl-C ends at once', async (t) => {
  const { clerk, start, run, runUntil, database } = await startCommandLine(t)
  clerk.seedUsers(1_000)
  clerk.faults.api = 'hang'
  const stop = new AbortController()
  const interrupted = runUntil(stop.signal, 'backfill', '--dry-run')
  await waitUntil('a request', async () => clerk.stats.apiRequests > 0)
  stop.abort()
  const { code, output } = await interrupted
  t.equal(code, 130)
  t.match(output, /Of 0 users a backfill would create 0/)
  clerk.faults.api = { status: 403 }
  const refused = await run('backfill', '--dry-run')
  t.equal(refused.code, 1)
  t.match(refused.output, /403 to GET .v1.users.count: CLERK_SECRET_KEY may not do this/)

  clerk.faults.api = undefined
  const client = new pg.Client(database.url)
  await client.connect()
  await client.query('begin; lock table clerk.users')
  const blocked = start('backfill')
  const waits = `select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`
  await waitUntil('the wait for the table', async () => (await database.query(waits)).length > 0)
  blocked.child.kill('SIGINT')
  await blocked.until(/press Ctrl-C again to stop at once/)
  blocked.child.kill('SIGINT')
  t.equal(await blocked.exit, 130)
  await client.end()
})

test('a backfill stays out of the change feed, unless --emit includes it', async (t) => {
  const { clerk, database, run } = await startCommandLine(t, {}, { CHANGES: 'true' })
  t.equal((await run('migrate')).code, 0)
  const changes = () => database.query('select entity_id, op, cause from changes order by seq')
  clerk.createUser()
  t.equal((await run('backfill')).code, 0)
  t.strictSame(await changes(), [])
  const ada = clerk.createUser()
  t.equal((await run('backfill', '--emit', '--restart')).code, 0)
  t.strictSame(await changes(), [{ entity_id: ada.id, op: 'created', cause: 'backfill' }])
  await run('migrate', '--no-changes')
  t.match(await run('backfill', '--emit'), {
    code: 2,
    output: /--emit needs the change feed, which is off: set CHANGES=true/,
  })
})
