import { getTableConfig } from 'drizzle-orm/pg-core'
import { test } from 'tap'
import * as tables from '../../src/db/migration-tables.ts'
import { createDatabase } from '../helpers/database.ts'
import { claims, deletion, SECOND, session, snapshot, startRepository, T0 } from '../helpers/repository.ts'

test('the tables are what the migrations made', async (t) => {
  const database = await createDatabase(t)
  t.equal(Object.keys(tables).length, 12)
  for (const table of Object.values(tables)) {
    const { name, columns, indexes } = getTableConfig(table)
    const made = await database.query(
      `select a.attname as name, format_type(atttypid, atttypmod) as type, attnotnull as required
       from pg_attribute a where attrelid = $1::regclass and attnum > 0 and not attisdropped order by 1`,
      [name],
    )
    const declared = columns.map((column) => ({
      name: column.name,
      type: column.getSQLType(),
      required: column.notNull,
    }))
    t.strictSame(
      made.map(({ type, ...column }) => ({ ...column, type: type.replace('timestamp(3) with', 'timestamp (3) with') })),
      declared.sort((a, b) => (a.name < b.name ? -1 : 1)),
      name,
    )
    const names = (
      await database.query('select indexname from pg_indexes where tablename = $1 order by 1', [name])
    ).map((row) => row.indexname)
    t.strictSame(names, [`${name}_pkey`, ...indexes.map(({ config }) => config.name)].sort())
  }
})

test("an application's foreign key to users.id and its own columns outlive a deletion", async (t) => {
  const { applyInTurn, database } = await startRepository(t)
  await database.query('alter table users add column credits int not null default 5, add column note text')
  await database.query('create unique index on users (lower(note))')
  await database.query(
    `create table orders (id int primary key, user_id text not null references users (id) on delete cascade on update cascade)`,
  )
  await applyInTurn({
    user: snapshot('user_1', T0, { email: 'ada@example.com' }),
    session: session('sess_1', 'user_1', 'active', T0),
  })
  await database.query("insert into orders values (1, 'user_1')")
  await database.query("update users set credits = 9, note = 'hers'")
  const outcomes = await applyInTurn(
    { user: snapshot('user_1', T0 + 1, { email: 'new@example.com' }) },
    { user: claims('user_1', T0 + 2 * SECOND, { firstName: 'Ada' }) },
    { user: deletion('user_1', T0 + 3 * SECOND) },
  )
  t.strictSame(outcomes, ['applied', 'applied', 'applied'])
  t.strictSame(
    await database.query(
      'select o.id, u.credits, u.note, u.email, u.deleted_at is not null as gone from orders o join users u on u.id = user_id',
    ),
    [{ id: 1, credits: 9, note: 'hers', email: null, gone: true }],
  )
  await database.query("insert into orders values (2, 'user_1')")
})

test('an open transaction that references a user does not delay a sync', async (t) => {
  const { apply, database } = await startRepository(t, { statementTimeoutMs: 1_000 })
  await database.query('create table orders (user_id text references users (id))')
  await apply({ user: snapshot('user_1', T0) })
  const application = await database.connect()
  await application.query("begin; insert into orders values ('user_1')")
  t.strictSame(await apply({ user: snapshot('user_1', T0 + 1) }), ['applied'])
  t.strictSame(await apply({ user: deletion('user_1', T0 + 1) }), ['applied'])
  await application.query('commit')
  application.release()
})

test('two users may have one email, as between a change and its event', async (t) => {
  const { apply } = await startRepository(t)
  t.strictSame(
    await apply(
      { user: snapshot('user_1', T0, { email: 'a@b.c' }) },
      { user: snapshot('user_2', T0, { email: 'a@b.c' }) },
    ),
    ['applied', 'applied'],
  )
})
