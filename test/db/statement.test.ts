import { sql } from 'drizzle-orm'
import { test } from 'tap'
import { webhookEvents } from '../../src/db/schema.ts'
import { $, statement } from '../../src/db/statement.ts'
import { startRepository } from '../helpers/repository.ts'

test('a statement is prepared under its name and takes its values in order', async (t) => {
  const { pool } = await startRepository(t, { max: 1 })
  const add = statement<{ sum: number; name: string }>(
    'add',
    () => sql`select ${$(1)}::int + ${$(2)}::int as sum, ${$(3)}::text as name`,
  )
  t.strictSame(await add(pool, 1, 2, 'x'), [{ sum: 3, name: 'x' }])
  t.strictSame(await add(pool, 4, 5, 'y'), [{ sum: 9, name: 'y' }])
  const { rows } = await pool.query({
    name: '',
    text: "select name from pg_prepared_statements where name like 'add%'",
    values: [],
  })
  t.strictSame(rows, [{ name: add.prepare('clerk').name }], 'parsed once')
})

test('a value in the text of a statement is refused, because it would be lost', async (t) => {
  const wrong = statement('wrong', () => sql`select ${1}`)
  t.throws(() => wrong.prepare('clerk'), TypeError)
})

test('each schema has a text and a name of its own', async (t) => {
  const count = statement('count', (t) => sql`select count(*) from ${t(webhookEvents)} where ${t.schema} <> ''`)
  const [one, two] = [count.prepare('one'), count.prepare('two')]
  t.equal(one.text, `select count(*) from "one"."webhook_events" where 'one' <> ''`)
  t.not(one.name, two.name)
  t.equal(count.prepare('one'), one, 'made once')
  for (const schema of ['Clerk', 'a"b', "a'b", '1x', '', 'a'.repeat(64)]) {
    t.throws(() => count.prepare(schema), TypeError, schema)
  }
})
