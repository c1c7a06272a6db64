/** A row lock of another transaction, or a refused change, does not affect the other changes of its batch. */
import pg from 'pg'
import tap, { type Test, test } from 'tap'
import type { Change } from '../../src/domain/change.ts'
import type { TestDatabase } from '../helpers/database.ts'
import { changeOf, invited, joined, organizationDeleted, userDeleted } from '../helpers/organization-events.ts'
import { SECOND, session, snapshot, startRepository, T0 } from '../helpers/repository.ts'
import { waitUntil } from '../helpers/wait-until.ts'

tap.setTimeout(900_000)

const BAD = 'Bad'
const change = (id: string, firstName: string | null = null) => ({ user: snapshot(id, T0 + SECOND, { firstName }) })

/** A repository whose late changes wait for long, and a table that refuses a name. */
async function start(t: Test, lockTimeoutMs = 60_000) {
  const limits = { lockTimeoutMs, statementTimeoutMs: 120_000, queryTimeoutMs: 120_000 }
  const { apply, database, repository } = await startRepository(t, limits)
  await database.query(`alter table users add constraint good check (first_name is distinct from '${BAD}')`)
  await apply({ user: snapshot('user_1', T0) }, { user: snapshot('user_2', T0) })
  return { apply, database, repository }
}

/** Another application, in a transaction of its own. */
async function begin(t: Test, { url }: TestDatabase, sql: string) {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  t.teardown(() => client.end())
  await client.query('begin; set local search_path = clerk')
  await client.query(sql)
  return { end: (how: 'commit' | 'rollback') => client.query(how) }
}
const lock = (id: string) => `select 1 from users where id = '${id}' for update`

/** Waits until a second attempt waits for a lock: the first one has had its time. */
async function untilLate({ query }: TestDatabase): Promise<void> {
  let first: string | undefined
  await waitUntil('a second wait', async () => {
    const rows = await query<{ at: string }>(`select l.waitstart::text as at from pg_locks l
      join pg_stat_activity a on a.pid = l.pid where not l.granted and l.waitstart is not null and a.datname = current_database()`)
    first ??= rows[0]?.at
    return rows.some(({ at }) => at !== first)
  })
}

const names = ({ query }: TestDatabase) =>
  query('select id, clerk_updated_at > $1 as is_new from users order by id', [new Date(T0)])

test('the change of a row that is being inserted waits, and the others are written', async (t) => {
  const { apply, database } = await start(t)
  const other = await begin(t, database, `insert into users (id, sync_source) values ('user_3', 'webhook')`)
  const applied = apply(change('user_3'), change('user_1'), change('user_2'))
  await waitUntil('the others', async () => (await names(database)).every(({ is_new }) => is_new))
  await other.end('rollback')
  t.strictSame(await applied, ['applied', 'applied', 'applied'])
})

test('if too many rows are being inserted, the batch fails, to be retried', async (t) => {
  const { repository, database } = await start(t)
  const ids = Array.from({ length: 64 }, (_, i) => `user_new_${i}`)
  const other = await begin(
    t,
    database,
    `insert into users (id, sync_source) select unnest(array['${ids.join("','")}']), 'webhook'`,
  )
  await t.rejects(repository.apply(ids.map((id) => change(id))), { code: 'DATABASE_UNAVAILABLE' })
  await other.end('rollback')
})

test('a late change that is refused is refused alone', async (t) => {
  const { apply, database } = await start(t)
  const other = await begin(t, database, lock('user_1'))
  const applied = apply(change('user_1', BAD), change('user_2'))
  await waitUntil('the other', async () => (await names(database))[1]?.is_new === true)
  await other.end('rollback')
  const [first, second] = await applied
  t.match(first, { code: '23514' })
  t.equal(second, 'applied')
})

test('of several late changes only the bad one is refused', async (t) => {
  const { apply, database } = await start(t)
  const other = await begin(t, database, `select 1 from users where id in ('user_1', 'user_2') for update`)
  const applied = apply(change('user_1', BAD), change('user_2'), change('user_3'))
  await untilLate(database)
  await other.end('rollback')
  const [first, ...others] = await applied
  t.match(first, { code: '23514' })
  t.strictSame(others, ['applied', 'applied'])
})

test('of several late changes only the one whose lock lasts fails', async (t) => {
  const { repository, database } = await start(t, 2_000)
  const other = await begin(t, database, lock('user_1'))
  const lasting = await begin(t, database, lock('user_2'))
  const applied = repository.apply([change('user_1'), change('user_2')])
  await untilLate(database)
  await other.end('rollback')
  const error = await applied.catch((reason) => reason)
  t.match(error, { code: 'DATABASE_UNAVAILABLE' })
  await lasting.end('rollback')
  t.strictSame(await names(database), [
    { id: 'user_1', is_new: true },
    { id: 'user_2', is_new: false },
  ])
})

test('a locked row that a deletion ends makes only the deletion late', async (t) => {
  const { apply, database } = await start(t)
  await apply(
    changeOf(joined('orgmem_1', 'org_1', 'user_1', T0 + SECOND)),
    changeOf(joined('orgmem_2', 'org_2', 'user_2', T0 + SECOND)),
    { session: session('sess_2', 'user_2', 'active', T0) },
    changeOf(invited('inv_1', 'org_2', 'accepted', T0 + SECOND, { user_id: 'user_1' })),
  )
  const at = T0 + 9 * SECOND
  for (const [row, deletion] of [
    ["organization_memberships where id = 'orgmem_1'", organizationDeleted('org_1', at)],
    ['sessions', userDeleted('user_2', at)],
    ['organization_invitations', userDeleted('user_1', at)],
  ] as const) {
    const other = await begin(t, database, `select 1 from ${row} for update`)
    const bystanders = Array.from({ length: 20 }, (_, i) => change(`user_x${i}`))
    const applied = apply(...bystanders.slice(0, 10), changeOf(deletion), ...bystanders.slice(10))
    await waitUntil(`the others while ${row} is locked`, async () => {
      const rows = await database.query(
        "select 1 from users where id like 'user\\_x%' and clerk_updated_at is not null",
      )
      return rows.length === 20
    })
    t.strictSame(
      await database.query("select 1 from webhook_events where type like '%.deleted' and outcome is not null"),
      [],
    )
    await other.end('rollback')
    t.equal((await applied)[10], 'applied')
    await database.query("delete from users where id like 'user\\_x%'; delete from webhook_events")
  }
})

test('several locked rows that deletions end are found at once, so that the batch does not fail', async (t) => {
  const { apply, database, repository } = await start(t)
  const all = [0, 1, 2, 3]
  await apply(...all.map((n) => changeOf(joined(`orgmem_${n}`, `org_${n}`, 'user_1', T0 + SECOND))))
  const other = await begin(t, database, 'select 1 from organization_memberships for update')
  const changes: Change[] = Array.from({ length: 60 }, (_, i) => change(`user_x${i}`))
  for (const n of all) changes.splice(7 + 15 * n, 0, changeOf(organizationDeleted(`org_${n}`, T0 + 9 * SECOND)))
  const results = await repository.applyEach(changes)
  await other.end('rollback')
  const outcomes = await Promise.all(results)
  t.strictSame([...new Set(outcomes.map((result) => ('error' in result ? result.error : result.outcome)))], ['applied'])
})
