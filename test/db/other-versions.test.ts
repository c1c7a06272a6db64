/** The tests of the tables and a journey, run once more on each PostgreSQL of the system: Debian's, beside the embedded one. */
import { execFile } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import pg from 'pg'
import tap, { test } from 'tap'
import { migrate } from '../../src/db/migrate.ts'
import { startOwnPostgres } from '../helpers/own-postgres.ts'
import { TEMPLATE } from '../helpers/postgres-server.ts'
import { ROOT } from '../helpers/process.ts'
import { findSystemPostgres, NO_SYSTEM_POSTGRES } from '../helpers/system-postgres.ts'

tap.setTimeout(900_000)

const FILES = [
  'db/migrate',
  'db/repository',
  'db/apply',
  'db/rights',
  'db/statement-text',
  'resources/user/upsert',
  'resources/session/upsert',
  'db/odd-data',
  'db/convergence',
  'journeys/first-sign-in',
]
const HISTORIES = '100'

const servers = findSystemPostgres()
if (servers.length === 0) test('other versions of PostgreSQL', { skip: NO_SYSTEM_POSTGRES }, async () => undefined)

for (const { version, binaries } of servers) {
  test(`PostgreSQL ${version}`, async (t) => {
    const settings = ['fsync=off', 'full_page_writes=off', 'max_connections=300']
    const { url } = await startOwnPostgres(t, { binaries, settings })
    const admin = new pg.Client({ connectionString: url })
    await admin.connect()
    t.match((await admin.query('show server_version')).rows, [{ server_version: new RegExp(`^${version}\\.`) }])
    await admin.query(`create database ${TEMPLATE}`)
    await admin.end()
    const template = new URL(url)
    template.pathname = TEMPLATE
    await migrate(template.href)
    const file = join(t.testdir(), 'server.json')
    writeFileSync(file, JSON.stringify({ url }))
    for (const name of FILES) {
      const { code, output } = await runTest(`test/${name}.test.ts`, {
        TEST_POSTGRES_FILE: file,
        HISTORIES,
        TAP_TIMEOUT: '900',
      })
      t.equal(code, 0, `${name}\n${code === 0 ? '' : output}`)
      t.match(output, /^# \{ total|^1\.\.\d/m, `${name} ran`)
    }
  })
}

// Without tap's variables: the sources are measured where the same tests run on the embedded server.
function runTest(file: string, env: Record<string, string>): Promise<{ code: number; output: string }> {
  const { PATH, HOME } = process.env
  return new Promise((resolve) => {
    const options = { cwd: ROOT, env: { PATH, HOME, ...env }, maxBuffer: 64 * 1_048_576 }
    execFile(process.execPath, [file], options, (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : Number(error.code ?? 1), output: `${stdout}${stderr}` }),
    )
  })
}
