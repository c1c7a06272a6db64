/** The final SQL of every statement, as it is sent and can be pasted into psql. */
import { globSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'tap'
import { statements } from '../../src/db/statement.ts'

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

test('every statement names its tables with their schema', async (t) => {
  const TABLES = /(?<!\.)"?\b(users|sessions|webhook_events|sync_state|reconcile_seen)\b"?(?!_)/g
  for (const { statementName, prepare } of all) {
    const text = prepare('clerk')
      .text.replaceAll(/"clerk"\."\w+"/g, '')
      // Not names of tables: texts, and what a column is called in an answer.
      .replaceAll(/'[^']*'/g, "''")
      .replaceAll(/\bas "?(users|sessions)"?/g, '')
    t.strictSame(text.match(TABLES), null, `${statementName}: ${text}`)
    const froms = [...text.matchAll(/\b(?:from|join|into|update)\s+([a-z_]+)\b(?!\s*\()/g)].map(([, name]) => name)
    const others = froms.filter((name) => !LOCAL.test(name as string))
    t.strictSame(others, [], `${statementName}: ${text}`)
  }
})

// Common table expressions, PostgreSQL's catalogs, and words that follow these keywords in other places.
const LOCAL = /^(pg_\w+|lock|free|wrong|charted|counted|set|select|unnest|max|skip|now|keys|excluded)$/
