/** The final SQL of every statement, as it is sent and can be pasted into psql. */
import { globSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'tap'
import { statements } from '../../src/db/statement.ts'
import { createDatabase } from '../helpers/database.ts'

const SRC = join(import.meta.dirname, '../../src')
// Statements register themselves as their module is loaded.
for (const folder of ['db', 'resources']) {
  for (const file of globSync(`${folder}/**/*.ts`, { cwd: SRC, exclude: ['**/*.d.ts'] }).sort()) {
    await import(join(SRC, file))
  }
}
const all = statements.toSorted((a, b) => (a.statementName < b.statementName ? -1 : 1))

test('the text of every statement is as it was reviewed', async (t) => {
  t.ok(all.length > 30, 'they are found')
  for (const { statementName, prepare } of all) t.matchSnapshot(prepare('clerk').text, statementName)
})

test('no two statements have the same name', async (t) => {
  t.equal(new Set(all.map(({ statementName }) => statementName)).size, all.length)
})

test('every statement names its tables with their schema: without a search_path PostgreSQL finds them all', async (t) => {
  const database = await createDatabase(t)
  const client = await database.connect()
  t.teardown(() => client.release(true))
  await client.query("set search_path = ''")
  for (const { statementName, prepare } of all) {
    const prepared = client.query(`prepare "${statementName}" as ${prepare('clerk').text}`)
    await t.resolves(prepared, statementName)
  }
  const other = await createDatabase(t, { isEmpty: true })
  const [lock] = all.filter(({ statementName }) => statementName === 'sync_state_select')
  await t.rejects(other.query(`prepare x as ${lock?.prepare('clerk').text}`), { code: '42P01' }, 'and no others')
})
