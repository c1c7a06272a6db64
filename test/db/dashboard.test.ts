import { test } from 'tap'
import {
  findFailedHeads,
  findLastOfTypes,
  findLedgerBuckets,
  MAX_CHARTED,
  MAX_RECENT,
  searchUsers,
} from '../../src/db/dashboard.ts'
import type { Executor } from '../../src/db/statement.ts'
import { startRepository } from '../helpers/repository.ts'

const STEP = 900
const COUNT = 96

test('webhooks are counted by the time of receipt, the current bucket last', async (t) => {
  const { pool, database } = await startRepository(t)
  const insert = (id: string, type: string, outcome: string, receivedAgo: string, delay: string | null) =>
    database.query(
      `insert into webhook_events (id, type, outcome, received_at, event_at, processed_at)
      values ($1, $2, $3, now() - $4::interval, now() - $4::interval - $5::interval, now() - $4::interval)`,
      [id, type, outcome, receivedAgo, delay],
    )
  await insert('msg_1', 'user.created', 'applied', '0', '2 seconds')
  await insert('msg_2', 'user.created', 'stale', '0', '50 seconds')
  await insert('msg_3', 'user.deleted', 'applied', '0', '4 seconds')
  await insert('msg_4', 'user.updated', 'applied', '5 hours', '-7 seconds')
  await insert('msg_5', 'user.created', 'failed', '0', null)
  await insert('msg_6', 'made.up', 'ignored', '3 hours', null)
  await insert('msg_7', 'user.updated', 'applied', '25 hours', '1 second')
  const buckets = await findLedgerBuckets(pool, STEP, COUNT)
  t.equal(buckets.length, COUNT)
  const times = buckets.map(({ at }) => Date.parse(at))
  t.ok(
    times.every(
      (time, i) => time % (STEP * 1000) === 0 && (i === 0 || time - (times[i - 1] as number) === STEP * 1000),
    ),
  )
  const filled = buckets.filter(({ applied, ignored }) => applied + ignored > 0)
  t.match(filled, [
    { applied: 1, delayMedianSeconds: 0 },
    { ignored: 1, applied: 0, delayMedianSeconds: null },
    {
      applied: 2,
      stale: 1,
      ignored: 0,
      failed: 1,
      usersCreated: 2,
      usersDeleted: 1,
      delayMedianSeconds: 3,
      delayP95Seconds: 3.9,
    },
  ])
  t.match(await findLastOfTypes(pool), [
    {},
    {},
    { type: 'made.up', messages: 1, lastOutcome: 'ignored' },
    { messages: 2 },
  ])
  t.match(await findFailedHeads(pool), [{ id: 'msg_5', error: null, objectId: null, isReplayable: false }])
})

/** The rows that the scans of a statement had in their hands, from PostgreSQL itself. */
interface Plan {
  'Node Type': string
  'Relation Name'?: string
  'Actual Rows': number
  'Rows Removed by Filter'?: number
  Plans?: Plan[]
}

test('the cost of the cost of no read grows with the tables', { timeout: 120_000 }, async (t) => {
  const { pool, database } = await startRepository(t)
  await database.query(
    `insert into webhook_events (id, type, object_id, outcome, received_at, processed_at, event_at)
    select 'msg_' || n, 'user.updated', 'user_' || n % 1000, case when n % 100 = 0 then 'failed' else 'applied' end,
      now() - n * interval '0.2 seconds', now(), now() from generate_series(1, 120000) n`,
  )
  await database.query(
    `insert into users (id, email, sync_source) select 'user_' || n, 'u' || n || '@example.com', 'webhook'
    from generate_series(1, 30000) n`,
  )
  await database.query(
    `insert into sessions (id, user_id, status, clerk_updated_at) select 'sess_' || n, 'user_' || n, 'active', now()
    from generate_series(1, 30000) n`,
  )
  await database.query(
    `insert into organizations (id, name, sync_source, clerk_updated_at)
    select 'org_' || n, 'Acme', 'webhook', now() from generate_series(1, 30000) n`,
  )
  await database.query(
    `insert into organization_memberships (id, organization_id, user_id, role, sync_source, clerk_updated_at)
    select 'orgmem_' || n, 'org_' || n, 'user_' || n, 'org:member', 'webhook', now() from generate_series(1, 30000) n`,
  )
  const tables = ['webhook_events', 'users', 'sessions', 'organizations', 'organization_memberships']
  for (const table of tables) await database.query(`vacuum analyze ${table}`)

  const scans: Plan[] = []
  const collect = (plan: Plan) => {
    if (plan['Relation Name']) scans.push(plan)
    for (const child of plan.Plans ?? []) collect(child)
  }
  const explaining: Executor = {
    schema: pool.schema,
    async query({ text, values }) {
      const [row] = await database.query(`explain (analyze, format json) ${text}`, values)
      collect(row?.['QUERY PLAN'][0].Plan)
      return { rows: await database.query(text, values) }
    },
  }
  const buckets = await findLedgerBuckets(explaining, STEP, COUNT)
  t.equal(
    buckets.reduce((sum, { applied, failed }) => sum + applied + failed, 0),
    MAX_CHARTED,
  )
  t.equal((await findLastOfTypes(explaining))[0]?.messages, MAX_RECENT)
  const failed = await findFailedHeads(explaining)
  t.equal(failed.length, 100)
  t.equal(failed[0]?.id, 'msg_100', 'the newest first')
  const found = await searchUsers(explaining, 'U77@example.com')
  t.match(found, {
    users: [{ id: 'user_77' }],
    sessions: [{ id: 'sess_77' }],
    memberships: [{ organizationId: 'org_77' }],
    events: [{}],
  })
  t.equal(found.events.length, 10)
  t.ok(scans.length >= 10, 'every read is among them')
  for (const scan of scans) {
    t.match(scan['Node Type'], /Index|Bitmap/, `${scan['Relation Name']} by an index`)
    const looked = scan['Actual Rows'] + (scan['Rows Removed by Filter'] ?? 0)
    const most = scan['Relation Name'] === 'webhook_events' ? MAX_CHARTED : 10
    t.ok(looked <= most, `${scan['Relation Name']}: ${looked} rows`)
  }
})
