import fc from 'fast-check'
import { type Test, test } from 'tap'
import { ClerkRefusal } from '../../src/clerk/api-errors.ts'
import { type BackendApiOptions, createBackendApi } from '../../src/clerk/backend-api.ts'
import { type ClerkEmulatorOptions, createClerkEmulator } from '../../src/emulator/index.ts'
import { type CatchUpOptions, type CatchUpReport, type CatchUpRun, catchUp } from '../../src/jobs/catch-up.ts'
import { reconcile } from '../../src/jobs/reconcile.ts'
import { createTestJobDatabase } from '../helpers/job-database.ts'

const NOTHING = { created: 0, updated: 0, deleted: 0 }

/** An instance whose webhooks go nowhere, and a database that has all of its users. */
async function start(t: Test, { users = 3, emulator = {}, api: more = {} }: StartOptions = {}) {
  let now = Date.now() - 3_600_000
  // Every change has a time of its own.
  const clerk = await createClerkEmulator({ now: () => ++now, ...emulator })
  t.teardown(() => clerk.close())
  clerk.seedUsers(users)
  const api = createBackendApi({ secretKey: clerk.secretKey, apiUrl: clerk.apiUrl, requestsInWindow: 10_000, ...more })
  const { database, query } = await createTestJobDatabase(t)
  const { signal } = new AbortController()
  const run = (options: Partial<CatchUpOptions> = {}) => catchUp({ database, api, signal, ...options })
  const copy = () => reconcile({ database, api, signal, isFixing: true, waitMs: 5_000 })
  await copy()
  const caughtUp = async (options: Partial<CatchUpOptions> = {}): Promise<CatchUpReport> => {
    const ran = await run(options)
    if (ran.state !== 'done') throw new Error(ran.state)
    return ran.report
  }
  const requests = async (work: () => Promise<unknown>) => {
    const before = clerk.stats.apiRequests
    await work()
    return clerk.stats.apiRequests - before
  }
  /** Ids, names and flags as Clerk has them, and as the table has them. */
  const difference = async () => {
    const rows = await query('select id, first_name, banned from users where deleted_at is null order by id')
    const theirs = [...clerk.users()]
      .map(({ id, first_name, banned }) => ({ id, first_name, banned }))
      .sort((a, b) => (a.id < b.id ? -1 : 1))
    return { rows, theirs }
  }
  return { clerk, database, query, api, run, copy, caughtUp, requests, difference, at: () => now }
}

interface StartOptions {
  users?: number
  emulator?: ClerkEmulatorOptions
  api?: Partial<BackendApiOptions>
}

test('while nothing changes it takes two requests', async (t) => {
  const { caughtUp, requests } = await start(t)
  await caughtUp()
  t.equal(await requests(() => caughtUp()), 2)
})

test('the next catch-up applies lost creations, updates and bans, and reports them as lost', async (t) => {
  const { clerk, caughtUp, difference } = await start(t)
  await caughtUp()
  const [ada] = [...clerk.users()]
  clerk.createUser({ firstName: 'Grace' })
  clerk.updateUser(ada?.id as string, { firstName: 'Ada' })
  const banned = clerk.createUser({ firstName: 'Mallory' })
  clerk.banUser(banned.id)
  const report = await caughtUp()
  t.strictSame(report.healed, { created: 2, updated: 1, deleted: 0 })
  t.strictSame(report.lost, { created: 2, updated: 1, deleted: 0 })
  const { rows, theirs } = await difference()
  t.strictSame(rows, theirs)
  t.strictSame((await caughtUp()).healed, NOTHING)
})

test('the first catch-up starts at the newest version in the table, ties included', async (t) => {
  const { clerk, caughtUp, query, difference } = await start(t)
  const ids = [...clerk.users()].map(({ id }) => id)
  const [first, second] = ids
  await query('update users set clerk_updated_at = (select max(clerk_updated_at) from users) where id = $1', [first])
  await query('delete from users where id = $1', [second])
  // One that is older than the newest version is found by the count.
  const report = await caughtUp()
  t.ok(report.checked < ids.length)
  await caughtUp()
  const { rows, theirs } = await difference()
  t.strictSame(rows, theirs)
})

test('a change younger than a minute is applied, and counts as lost only if no webhook arrives by then', async (t) => {
  const { clerk, caughtUp, query } = await start(t, { emulator: { now: () => Date.now() } })
  await caughtUp()
  const grace = clerk.createUser({ firstName: 'Grace' })
  const brought = await caughtUp()
  t.strictSame(brought.healed, { created: 1, updated: 0, deleted: 0 })
  t.strictSame(brought.lost, NOTHING)
  t.strictSame((await caughtUp({ transitMs: -5_000 })).lost.created, 1, 'a minute later, none has come')
  t.strictSame((await caughtUp({ transitMs: -5_000 })).lost, NOTHING, 'it counts once')
  const mary = clerk.createUser({ firstName: 'Mary' })
  await caughtUp()
  await query('update users set clerk_event_at = now() where id = $1', [mary.id])
  t.strictSame((await caughtUp({ transitMs: -5_000 })).lost, NOTHING, 'a webhook has come')
  t.strictSame(await query('select first_name from users where id = any($1) order by 1', [[grace.id, mary.id]]), [
    { first_name: 'Grace' },
    { first_name: 'Mary' },
  ])
})

test('a lost deletion among 6,000 users is found by bisection, in under 12 requests', async (t) => {
  const { clerk, caughtUp, requests, query } = await start(t, { users: 6_000 })
  await caughtUp()
  const victim = [...clerk.users()][2_777]?.id as string
  clerk.deleteUser(victim)
  t.strictSame((await caughtUp()).healed, NOTHING, 'off for the first time, it may be on its way')
  let report: CatchUpReport | undefined
  const count = await requests(async () => {
    report = await caughtUp()
  })
  t.match(report, { searched: true, healed: { created: 0, updated: 0, deleted: 1 } })
  t.ok(count < 12, `${count} requests`)
  t.strictSame(await query('select id, sync_source from users where deleted_at is not null'), [
    { id: victim, sync_source: 'clerk_api' },
  ])
  t.strictSame((await caughtUp()).searched, false)
})

test('a difference that cannot be repaired is searched for once', async (t) => {
  const { clerk, caughtUp, query } = await start(t)
  await caughtUp()
  const [ada] = [...clerk.users()]
  // Deleted by an event, which nothing undoes, while Clerk still counts the user.
  await query(`update users set deleted_at = now(), sync_source = 'webhook' where id = $1`, [ada?.id])
  t.strictSame(
    [await caughtUp(), await caughtUp(), await caughtUp(), await caughtUp()].map(({ searched }) => searched),
    [false, true, false, false],
  )
})

test('a change that is lost during a search is found by a later one', async (t) => {
  const { clerk, caughtUp, query, api } = await start(t)
  await caughtUp()
  const [ada, grace] = [...clerk.users()].map(({ id }) => id) as [string, string]
  clerk.deleteUser(ada)
  await caughtUp()
  const isAbsent: typeof api.isAbsent = async (id) => {
    clerk.deleteUser(grace)
    return api.isAbsent(id)
  }
  t.match(await caughtUp({ api: { ...api, isAbsent } }), { healed: { deleted: 1 } })
  t.match(await caughtUp(), { healed: { deleted: 1 } })
  t.equal((await query('select 1 from users where deleted_at is null')).length, 1)
})

test('too many deletions are withheld, and are not searched for again', async (t) => {
  const { clerk, caughtUp, query } = await start(t, { users: 80 })
  await caughtUp()
  for (const { id } of [...clerk.users()].slice(0, 60)) clerk.deleteUser(id)
  await caughtUp()
  const report = await caughtUp()
  t.match(report, { deletionsWithheld: 60, healed: NOTHING })
  t.equal((await query('select 1 from users where deleted_at is null')).length, 80)
  t.equal((await caughtUp()).searched, false)
})

test('if Clerk lists no known user, even a few deletions are withheld', async (t) => {
  const { clerk, caughtUp } = await start(t, { users: 12 })
  await caughtUp()
  for (const { id } of [...clerk.users()]) clerk.deleteUser(id)
  await caughtUp()
  t.match(await caughtUp(), { deletionsWithheld: 12, healed: NOTHING })
})

test('more users with one creation time than fit in a page are all compared', async (t) => {
  const at = Date.now() - 3_600_000
  const { clerk, caughtUp, query } = await start(t, { users: 0, emulator: { now: () => at } })
  for (let n = 0; n < 520; n += 1) clerk.createUser()
  await caughtUp()
  await caughtUp()
  t.equal((await query('select 1 from users')).length, 520)
  const victim = [...clerk.users()][510]?.id as string
  clerk.deleteUser(victim)
  await caughtUp()
  await caughtUp()
  t.strictSame(await query('select id from users where deleted_at is not null'), [{ id: victim }])
})

test('an instance without organizations answers 403; any other refusal is an error', async (t) => {
  const { api, caughtUp } = await start(t)
  const list = async () => {
    throw new ClerkRefusal(403, 'GET /v1/organizations')
  }
  t.match(await caughtUp({ api: { ...api, list } }), { organizations: 0 })
  const refuse = async () => {
    throw new ClerkRefusal(401, 'GET /v1/organizations')
  }
  const { caughtUp: another, api: other } = await start(t)
  await t.rejects(another({ api: { ...other, list: refuse } }), ClerkRefusal)
})

test('a user that cannot be stored does not affect others', async (t) => {
  const { clerk, database, caughtUp } = await start(t, { users: 0 })
  await caughtUp()
  clerk.createUser()
  const apply = async () => [{ error: new Error('refused') }]
  const repository = { ...database.repository, apply }
  t.strictSame((await caughtUp({ database: { ...database, repository } })).healed, NOTHING)
})

test('a user that Clerk lists again after an inferred deletion comes back', async (t) => {
  const { clerk, caughtUp, query } = await start(t)
  await caughtUp()
  const [ada] = [...clerk.users()]
  await query(`update users set deleted_at = clerk_updated_at, sync_source = 'clerk_api', email = null where id = $1`, [
    ada?.id,
  ])
  await caughtUp()
  await caughtUp()
  t.equal((await query('select 1 from users where deleted_at is null')).length, 3)
})

test('a user that is known only from claims and unknown at Clerk is found by the count', async (t) => {
  const { caughtUp, query } = await start(t)
  await caughtUp()
  await query(
    `insert into users (id, sync_source, created_at) values ('user_ghost', 'session_claims', now() - interval '1 day')`,
  )
  await caughtUp()
  const report = await caughtUp()
  t.match(report, { searched: true, healed: { deleted: 1 } })
  t.strictSame(await query(`select id from users where deleted_at is not null`), [{ id: 'user_ghost' }])
})

test('an empty table is filled without a backfill', async (t) => {
  const { clerk, caughtUp, query, difference } = await start(t, { users: 700 })
  await query('delete from users')
  const first = await caughtUp()
  t.equal(first.checked, 1)
  await caughtUp()
  const { rows, theirs } = await difference()
  t.equal(rows.length, 700)
  t.strictSame(rows, theirs)
  t.ok(clerk)
})

test('nothing is written before the instance is checked', async (t) => {
  const { clerk, run, caughtUp, query } = await start(t)
  await caughtUp()
  const checkIdentity = async () => {
    throw new Error('of another instance')
  }
  t.match(await run({ checkIdentity }), { state: 'done' }, 'there is nothing to write')
  clerk.createUser()
  await t.rejects(run({ checkIdentity }), /another instance/)
  t.equal((await query('select 1 from users')).length, 3)
  clerk.deleteUser([...clerk.users()][0]?.id as string)
  clerk.deleteUser([...clerk.users()][0]?.id as string)
  await run()
  await t.rejects(run({ checkIdentity }), /another instance/)
  t.equal((await query('select 1 from users where deleted_at is null')).length, 4)
})

test('of two concurrent catch-ups one runs, and none runs again soon after', async (t) => {
  const { run, api } = await start(t)
  let second: CatchUpRun | undefined
  const listUsers: typeof api.listUsers = async (query) => {
    second ??= await run()
    return api.listUsers(query)
  }
  t.match(await run({ api: { ...api, listUsers } }), { state: 'done' })
  t.match(second, { state: 'busy' })
  t.match(await run({ notWithinMs: 60_000 }), { state: 'recent' })
})

test('if Clerk does not answer, the next catch-up starts from the same point', async (t) => {
  const { clerk, caughtUp, query } = await start(t, { api: { maxAttempts: 1 } })
  await caughtUp()
  const before = await query(`select state->'through' as through from sync_state where job = 'catch-up'`)
  clerk.createUser({ firstName: 'Grace' })
  clerk.faults.api = 'error'
  await t.rejects(caughtUp())
  t.strictSame(await query(`select state->'through' as through from sync_state where job = 'catch-up'`), before)
  clerk.faults.api = undefined
  t.strictSame((await caughtUp()).healed.created, 1)
})

test('organizations and memberships: new ones are added, deleted ones removed', async (t) => {
  const { clerk, caughtUp, query, requests } = await start(t)
  const [ada, grace] = [...clerk.users()].map(({ id }) => id) as [string, string]
  const organization = clerk.organizations.create({ name: 'Acme', created_by: ada })
  clerk.organizations.addMember(organization.id, grace)
  await caughtUp()
  t.ok((await caughtUp()).organizations >= 3)
  const members = () => query('select user_id from organization_memberships where ended_at is null order by user_id')
  t.strictSame(
    await members(),
    [ada, grace].toSorted().map((user_id) => ({ user_id })),
  )
  t.equal(await requests(() => caughtUp()), 4, 'two more requests while nothing changes')
  clerk.organizations.removeMember(organization.id, grace)
  await caughtUp()
  await caughtUp()
  t.strictSame(await members(), [{ user_id: ada }])
  // Ended by an event, which nothing undoes, while Clerk still counts it: the lists are compared once.
  await query(`update organization_memberships set deleted_at = now(), ended_at = now(), sync_source = 'webhook'`)
  await caughtUp()
  await caughtUp()
  t.equal(await requests(() => caughtUp()), 4)
})

test('users that change and go while the list is read are not skipped', async (t) => {
  const { clerk, caughtUp, difference, api } = await start(t, { users: 900 })
  await caughtUp()
  const ids = [...clerk.users()].map(({ id }) => id)
  for (const id of ids) clerk.updateUser(id, { firstName: 'New' })
  let calls = 0
  const disturbed: typeof api = {
    ...api,
    async listUsers(query) {
      const page = await api.listUsers(query)
      calls += 1
      // Those of the pages before go: everybody behind them moves up.
      if (query.orderBy === '-updated_at' && calls < 5) for (const id of page.ids.slice(0, 20)) clerk.deleteUser(id)
      if (query.orderBy === '-updated_at') clerk.updateUser(ids[calls] as string, { firstName: `Newer ${calls}` })
      return page
    },
  }
  await caughtUp({ api: disturbed })
  await caughtUp({ maxDeletions: 900 })
  await caughtUp({ maxDeletions: 900 })
  const { rows, theirs } = await difference()
  t.strictSame(rows, theirs)
})

test('whatever webhooks are lost, two catch-ups later the table equals Clerk', async (t) => {
  const { clerk, caughtUp, difference } = await start(t, { users: 40 })
  await caughtUp()
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.constantFrom('create', 'update', 'delete', 'ban'), fc.nat(1_000)), { maxLength: 12 }),
      async (changes) => {
        for (const [kind, at] of changes) {
          const users = [...clerk.users()]
          const id = users[at % Math.max(1, users.length)]?.id
          if (kind === 'create' || id === undefined) clerk.createUser({ firstName: `Name ${at}` })
          else if (kind === 'update') clerk.updateUser(id, { firstName: `Other ${at}` })
          else if (kind === 'ban') clerk.banUser(id)
          else clerk.deleteUser(id)
        }
        await caughtUp()
        await caughtUp()
        const { rows, theirs } = await difference()
        t.strictSame(rows, theirs)
      },
    ),
    { numRuns: 30 },
  )
})
