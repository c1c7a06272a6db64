import { sql } from 'drizzle-orm'
import { test } from 'tap'
import { $, list, statement } from '../../src/db/statement.ts'
import { startRepository } from '../helpers/repository.ts'

test('a statement is prepared under its name and takes its values in order', async (t) => {
  const { pool } = await startRepository(t)
  const add = statement<{ sum: number; name: string }>(
    'add',
    sql`select ${$(1)}::int + ${$(2)}::int as sum, ${list([$(3), $(3)])}::text as name`,
  )
  t.strictSame(await add(pool, 1, 2, 'x'), [{ sum: 3, name: 'x', '?column?': 'x' }])
})

test('a value in the text of a statement is refused, since it would be dropped', async (t) => {
  t.throws(() => statement('wrong', sql`select ${1}`), TypeError)
})
