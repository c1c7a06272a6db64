import { test } from 'tap'
import { withLease } from '../../src/db/lease.ts'
import { createPool } from '../../src/db/pool.ts'
import type { LedgerEntry } from '../../src/domain/silence.ts'
import { startCommandLine } from '../helpers/command-line.ts'
import { startService } from '../helpers/service.ts'
import { waitUntil } from '../helpers/wait-until.ts'

const LIVE = 'sk_live_abcdefghijklmnopqrstuvwxyz0123456789'

interface Drift {
  count: number
  repaired: number
  sample: string[]
}

const mapValues = <T, U>(object: Record<string, T>, map: (value: T) => U): Record<string, U> =>
  Object.fromEntries(Object.entries(object).map(([name, value]) => [name, map(value)]))
const countsOf = ({ drift }: { drift: Record<string, Drift> }) =>
  mapValues(drift, ({ count, repaired }) => ({ count, repaired }))

/** Rows changed by hand, each in another way and each once, by the last digits of their ids. */
const MUTATIONS = {
  stale: [
    `update users set email = 'wrong@example.com' where id like '%001'`,
    `update users set public_metadata = '{"a": 1}', clerk_event_at = now() where id like '%002'`,
    `update users set banned = true where id like '%003'`,
    `update users set clerk_updated_at = clerk_updated_at - interval '1 day' where id like '%004'`,
    `update users set clerk_updated_at = null, sync_source = 'session_claims' where id like '%005'`,
  ],
  newer: [
    `update users set clerk_updated_at = clerk_updated_at + interval '1 hour', last_name = 'x' where id like '%006'`,
    `update users set clerk_updated_at = '2090-01-01' where id like '%007'`,
  ],
  missing: [`delete from users where id like '%008'`],
  gone: [
    `insert into users (id, email, sync_source, clerk_updated_at)
     select 'user_gone' || n, 'gone@example.com', 'webhook', now() from generate_series(1, 50) n`,
  ],
}

// More than one batch of those that Clerk did not list (5,000).
const USERS = 5_000

test('N of 5,000 rows changed by hand: exactly N reported, N repaired, then none', async (t) => {
  const { clerk, database, run } = await startCommandLine(t, { secretKey: LIVE })
  clerk.seedUsers(USERS)
  t.equal((await run('backfill')).code, 0)

  const columns = 'id, email, last_name, public_metadata, banned, deleted_at, clerk_updated_at'
  const before = await database.query(`select ${columns} from users order by id`)
  for (const statement of Object.values(MUTATIONS).flat()) await database.query(statement)
  await database.query(`update users set deleted_at = now(), sync_source = 'webhook' where id like '%009'`)
  const reported = await run('reconcile', '--json')
  t.equal(reported.code, 1)
  const expected = { missing: 5, stale: 25, newer: 10, gone: 50 }
  t.strictSame(
    countsOf(reported.json),
    mapValues(expected, (count) => ({ count, repaired: 0 })),
  )
  t.strictSame(
    mapValues(reported.json.drift as Record<string, Drift>, ({ sample }) => sample.length),
    { missing: 5, stale: 20, newer: 10, gone: 20 },
  )
  t.strictSame([reported.json.remaining, reported.json.deletedHere], [90, 5], 'who is deleted here does not drift')

  const repaired = await run('reconcile', '--fix', '--json')
  t.equal(repaired.code, 0, repaired.output)
  t.strictSame(
    countsOf(repaired.json),
    mapValues(expected, (count) => ({ count, repaired: count })),
  )
  const after = await run('reconcile', '--json')
  t.equal(after.code, 0)
  const none = { count: 0, repaired: 0 }
  t.strictSame(countsOf(after.json), { missing: none, stale: none, newer: none, gone: none })
  const { checked, remaining, deletedHere, isComplete } = after.json
  t.strictSame([checked, remaining, deletedHere, isComplete], [USERS, 0, 5, true])
  // Five pages have some, and those who are gone come in two batches.
  t.equal(reported.json.requests, after.json.requests + 7, 'Clerk is asked again for the doubtful alone')
  const rows = await database.query(`select ${columns} from users where deleted_at is null order by id`)
  t.strictSame(
    rows,
    before.filter(({ id }) => !id.endsWith('009')),
  )
  t.equal(clerk.stats.rateLimited, 0)
})

test('the report for people, with what to do next', async (t) => {
  const { clerk, database, run } = await startCommandLine(t)
  const ada = clerk.createUser({ email: 'ada@example.com' })
  clerk.updateUser(ada.id, { publicMetadata: [] as never })
  clerk.createUser()
  await run('backfill')
  await database.query(`insert into users (id, sync_source) values ('user_gone', 'webhook')`)
  const { code, output } = await run('reconcile')
  t.equal(code, 1)
  t.match(output, /2 users of Clerk compared with the table:/)
  t.match(output, /missing at Clerk +1 +user_gone/)
  t.match(output, `Clerk's answer could not be read for ${ada.id}`)
  t.match(output, /Repair with: clerk-session-sync reconcile --fix/)
  t.match(output, /Changes since .* that no webhook delivered: 1 created, 0 updated, 1 deleted/)
  t.match(output, /Last webhook of each type, .*\n.*user\.created +none\n/)
  t.match(output, /no webhook has been received/)
  t.match(await run('reconcile', '--max-deletions', '5'), { code: 2, output: /--max-deletions needs --fix/ })
  t.match((await run('reconcile', '--fix')).output, /missing at Clerk +1 +1 repaired +user_gone/)
})

test('a repair that failed is named with its reason, and fails the command', async (t) => {
  const { clerk, database, run } = await startCommandLine(t)
  const ada = clerk.createUser({ firstName: 'Ada' })
  clerk.createUser({ firstName: 'Grace' })
  await run('migrate')
  await database.query(`alter table users add constraint no_ada check (first_name is distinct from 'Ada')`)
  const { code, output } = await run('reconcile', '--fix')
  t.equal(code, 1)
  t.match(output, /missing here +2 +1 repaired/)
  t.match(output, new RegExp(`${ada.id} could not be repaired: .*no_ada`))
})

test('many deletions are withheld, because it may be another instance', async (t) => {
  const { clerk, database, run } = await startCommandLine(t)
  clerk.seedUsers(5)
  await database.query(`insert into users (id, sync_source)
    select 'user_other' || n, 'webhook' from generate_series(1, 60) n`)
  const { code, output } = await run('reconcile', '--fix')
  t.equal(code, 1)
  t.match(output, /60 are too many, so nothing was deleted: does CLERK_SECRET_KEY belong to this instance/)
  await database.query(`delete from users where id > 'user_other2'`)
  const few = (await run('reconcile', '--json')).json
  t.strictSame([few.drift.gone.count, few.deletionsWithheld], [12, 0])
  await database.query(`delete from users where id like 'user_2Seed%'`)
  t.equal((await run('reconcile', '--json')).json.deletionsWithheld, 12, 'few, but none of them is known to Clerk')
  const told = await run('reconcile', '--fix', '--max-deletions', '12', '--json')
  t.equal(told.code, 0)
  t.strictSame(
    await database.query(`select count(*)::int from users where deleted_at is not null and sync_source = 'clerk_api'`),
    [{ count: 12 }],
  )
})

test('undelivered changes are counted, with a likely cause', async (t) => {
  const { clerk, database } = await startService(t)
  const { run } = await startCommandLine(
    t,
    {},
    {
      DATABASE_URL: database.url,
      CLERK_ISSUER: clerk.issuer,
      CLERK_API_URL: clerk.apiUrl,
      CLERK_SECRET_KEY: clerk.secretKey,
    },
  )
  const ada = clerk.createUser()
  await clerk.webhooks.idle()
  const all = await run('reconcile', '--json')
  t.equal(all.code, 0)
  t.strictSame(all.json.undelivered, { created: 0, updated: 0, deleted: 0 })
  t.strictSame(all.json.silence, [])
  t.strictSame(
    all.json.ledger.map(({ type, messages, failed }: LedgerEntry) => ({ type, messages, failed })),
    [{ type: 'user.created', messages: 1, failed: 0 }],
  )

  clerk.webhooks.enabled = false
  clerk.updateUser(ada.id, { firstName: 'Ada' })
  const bob = clerk.createUser()
  await clerk.webhooks.idle()
  const silent = await run('reconcile', '--json')
  t.equal(silent.code, 1)
  t.strictSame(
    mapValues(silent.json.drift as Record<string, Drift>, ({ sample }) => sample),
    { missing: [bob.id], stale: [ada.id], newer: [], gone: [] },
  )
  t.equal(silent.json.undelivered.created + silent.json.undelivered.updated, 2)
  t.equal(silent.json.silence.length, 2)
  t.match(silent.json.silence, [
    /^user.updated were not received recently, but other types were/,
    /the last webhook was received at .*is it disabled/,
  ])

  t.equal((await run('reconcile', '--fix')).code, 0)
  const healed = await run('reconcile', '--json')
  t.equal(healed.code, 0, 'nothing drifts any more')
  t.equal(healed.json.silence.length, 2)
  t.match(healed.json.silence, [/user.updated/, /2 changes were not delivered/], 'but the endpoint is still silent')
})

test('Ctrl-C ends it with the results so far', async (t) => {
  const { clerk, start, run, database } = await startCommandLine(t)
  clerk.seedUsers(1)
  clerk.faults.api = { delayMs: 1_000 }
  const running = start('reconcile')
  await waitUntil('its first page', async () => clerk.stats.apiRequestsByPath['GET /v1/users'] === 1)
  running.child.kill('SIGINT')
  t.equal(await running.exit, 130)
  t.match(running.output(), /0 users of Clerk compared with the table, then interrupted:/)
  clerk.faults.api = undefined
  t.equal((await run('reconcile')).code, 1)
  const job = () => database.query("select job from sync_state where job <> 'instance'")
  t.strictSame(await job(), [], 'the service skips its run after neither of them')
  t.equal((await run('reconcile', '--fix')).code, 0)
  t.strictSame(await job(), [{ job: 'reconcile' }])
})

test('one reconcile at a time', async (t) => {
  const { database, run } = await startCommandLine(t)
  const pool = createPool({ connectionString: database.url, onError: () => undefined })
  t.teardown(() => pool.end())
  await withLease(pool, 'reconcile', async () => {
    const second = await run('reconcile')
    t.equal(second.code, 1)
    t.match(second.output, /Another reconcile is running/)
  })
})

test('temporary refusals and failures of Clerk do not change the report', async (t) => {
  const { clerk, database, run } = await startCommandLine(t)
  clerk.seedUsers(1_200)
  t.equal((await run('backfill')).code, 0)
  await database.query(`delete from users where id like '%001'`)
  await database.query(`insert into users (id, sync_source, clerk_updated_at) values ('user_gone', 'webhook', now())`)
  const before = clerk.stats.apiRequests
  // One after the other, each for one request, and then again in the middle of the walk.
  const faults = [
    { status: 429, headers: { 'retry-after': '1' } },
    'error',
    'reset',
    'html',
    undefined,
    'error',
  ] as const
  const weather = (async () => {
    for (const [n, fault] of faults.entries()) {
      clerk.faults.api = fault
      await waitUntil(`request ${n}`, async () => clerk.stats.apiRequests > before + n)
    }
    clerk.faults.api = undefined
  })()
  const { code, json, output } = await run('reconcile', '--fix', '--json')
  await weather
  t.equal(code, 0, output)
  for (const reason of ['status 429', 'status 500', 'no connection'])
    t.match(output, `Clerk's Backend API (${clerk.apiUrl}): ${reason}, trying again in`)
  const { isComplete, checked, remaining, deletionsWithheld } = json
  t.strictSame([isComplete, checked, remaining, deletionsWithheld], [true, 1_200, 0, 0])
  const none = { count: 0, repaired: 0 }
  const expected = { missing: { count: 2, repaired: 2 }, stale: none, newer: none, gone: { count: 1, repaired: 1 } }
  t.strictSame(countsOf(json), expected)
})

test('the text names drifting organizations, and with --fix how many were repaired', async (t) => {
  const { clerk, run } = await startCommandLine(t)
  const user = clerk.createUser()
  t.equal((await run('backfill')).code, 0)
  const { id } = clerk.organizations.create({ created_by: user.id })
  const reported = await run('reconcile')
  t.equal(reported.code, 1, reported.output)
  t.match(reported.output, new RegExp(`^ *organizations .* 1 +${id}$`, 'm'))
  const repaired = await run('reconcile', '--fix')
  t.equal(repaired.code, 0, repaired.output)
  t.match(repaired.output, new RegExp(`^ *organizations .* 1 +1 repaired +${id}$`, 'm'))
  t.notMatch((await run('reconcile')).output, id)
})
