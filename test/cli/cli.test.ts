import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'tap'
import { onInterrupt } from '../../src/cli/context.ts'
import { main } from '../../src/cli/index.ts'
import { openBrowser } from '../../src/cli/open-browser.ts'
import { databaseName } from '../../src/embedded/database.ts'
import { startCommandLine } from '../helpers/command-line.ts'
import { createDatabase } from '../helpers/database.ts'
import { freePorts, ROOT, runNode } from '../helpers/process.ts'
import { waitUntil } from '../helpers/wait-until.ts'

const CLI = join(ROOT, 'src/cli/index.ts')

test('wrong usage is exit code 2, help and version are 0', async (t) => {
  const silent = { write: () => true }
  const host = { env: {}, stdin: () => process.stdin, stdout: silent, stderr: silent, watchSignals: onInterrupt }
  for (const args of [['serve', '--nonsense'], []]) t.strictSame(await main(args, host), { code: 2 }, args.join(' '))
  for (const args of [['--help'], ['dev', '--help']]) t.strictSame(await main(args, host), { code: 0 }, args.join(' '))
  // The same by the real program.
  t.equal(await runNode(t, [CLI, 'nonsense'], {}).exit, 2)
  t.equal(await runNode(t, [CLI, '--version'], {}).exit, 0)
})

test('migrate creates the tables and may be repeated', async (t) => {
  const database = await createDatabase(t, { isEmpty: true })
  const { run, runProgram } = await startCommandLine(t, {}, { DATABASE_URL: database.url })
  for (const migrate of [runProgram, run]) {
    const { code, output } = await migrate('migrate')
    t.equal(code, 0)
    t.equal(output, 'The database is up to date.\n')
  }
  t.strictSame(await database.query('select * from users'), [])
  const inSchema = await startCommandLine(t, {}, { DATABASE_URL: database.url, DATABASE_SCHEMA: 'clerk' })
  t.equal((await inSchema.run('migrate')).code, 0)
  t.strictSame(await database.query('select * from clerk.users'), [], 'in a schema of its own where one is set')
  const unset = await (await startCommandLine(t, {}, { DATABASE_URL: '' })).run('migrate')
  t.equal(unset.code, 1)
  t.match(unset.output, /DATABASE_URL is missing/)
})

test('serve runs the service', async (t) => {
  const database = await createDatabase(t)
  const run = runNode(t, [CLI, 'serve'], {
    NODE_ENV: 'test',
    PORT: '0',
    DATABASE_URL: database.url,
    CLERK_ISSUER: 'http://127.0.0.1:9',
  })
  await run.until(/Server listening/)
  run.child.kill('SIGINT')
  t.equal(await run.exit, 0)
})

/** A folder where the user postgres may enter, as PostgreSQL needs it when the test runs as root. */
function workFolder(t: Parameters<typeof runNode>[0]): string {
  const folder = mkdtempSync(join(tmpdir(), 'clerk-session-sync-dev-'))
  chmodSync(folder, 0o711)
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

test('dev embeds what is missing, says where everything is, cleans up, and finds its data again', async (t) => {
  const cwd = workFolder(t)
  const port = await freePorts()
  const env = { PORT: String(port) }
  const first = runNode(t, [CLI, 'dev'], env, { cwd })
  const [, token] = await first.until(/TOKEN=(\S+)/)
  await first.until(/Press Ctrl-C to stop everything/)
  const get = (path: string) =>
    fetch(`http://127.0.0.1:${port}${path}`, { headers: { authorization: `Bearer ${token}` } })
  const profile = await get('/api/auth/profile')
  t.equal(profile.status, 200, 'the printed token works')
  const { user } = (await profile.json()) as { user: { id: string } }
  const [, deletion] = await first.until(/curl -X DELETE (\S+)/)
  t.match(deletion, user.id)
  const progress = [
    "building the demo's page",
    'starting PostgreSQL',
    'starting the Clerk emulator',
    'starting the service',
  ]
  const said = progress.map((line) => first.output().indexOf(line))
  t.ok(
    said.every((at) => at >= 0) && first.output().indexOf('Ctrl-C') > Math.max(...said),
    'and says what it does first',
  )
  t.strictSame(
    said,
    said.toSorted((a, b) => a - b),
  )
  const root = await fetch(`http://127.0.0.1:${port}/`, { redirect: 'manual' })
  t.match([root.status, root.headers.get('location')], [302, '/demo'])

  const [, lines = ''] = await first.until(/in another terminal:\n\n((?:.*\n)+?)\n/)
  t.equal(statSync(join(cwd, '.data/dev.env')).mode & 0o777, 0o600)
  const compare = spawnSync('sh', ['-c', lines.replace('src/cli/index.ts doctor', `${CLI} user ${user.id}`)], {
    cwd,
    encoding: 'utf8',
    env: { PATH: process.env.PATH },
  })
  t.equal(compare.status, 0, `${compare.stdout}${compare.stderr}`)
  t.match(compare.stdout, user.id, 'the printed lines bring the command line to the same database and emulator')

  const postgresPid = Number(readFileSync(join(cwd, '.data/postgres/postmaster.pid'), 'utf8').split('\n')[0])
  const second = runNode(t, [CLI, 'dev'], env, { cwd })
  t.equal(await second.exit, 1)
  t.match(second.output(), new RegExp(`port ${port} .* is in use: stop the program that listens there, or set PORT`))
  const third = runNode(t, [CLI, 'dev'], { PORT: String(await freePorts()) }, { cwd })
  t.equal(await third.exit, 1)
  t.match(third.output(), new RegExp(`process ${postgresPid}\\) already uses`))
  t.notMatch(third.output(), /\n\s+at /, 'no stack')

  first.child.kill('SIGINT')
  t.equal(await first.exit, 0)
  t.throws(() => process.kill(postgresPid, 0), { code: 'ESRCH' } as never, 'PostgreSQL is gone')
  await t.rejects(get('/livez'), 'so is the service')

  // As after a power cut: the lock file of a process that is no more.
  writeFileSync(join(cwd, '.data/postgres/postmaster.pid'), `${postgresPid}\n`)
  const again = runNode(t, [CLI, 'dev'], env, { cwd })
  await again.until(/Press Ctrl-C to stop everything/)
  const [, url] = await again.until(/PostgreSQL\s+(postgres:\S+)/)
  const { default: pg } = await import('pg')
  const client = new pg.Client(url)
  await client.connect()
  const { rows } = await client.query('select id from clerk.users where id = $1', [user.id])
  await client.end()
  t.equal(rows.length, 1, 'the data of the first start is there')
  again.child.kill('SIGTERM')
  t.equal(await again.exit, 0)

  // A browser that writes down what it is to open.
  const opened = join(cwd, 'opened')
  mkdirSync(join(cwd, 'bin'))
  writeFileSync(join(cwd, 'bin/xdg-open'), `#!/bin/sh\necho "$1" > ${opened}\n`, { mode: 0o755 })
  const PATH = `${join(cwd, 'bin')}:${process.env.PATH}`
  const anew = runNode(t, [CLI, 'dev', '--reset', '--open'], { ...env, PATH }, { cwd })
  const [, newUrl] = await anew.until(/PostgreSQL\s+(postgres:\S+)/)
  t.equal(new URL(newUrl as string).pathname, '/emulator')
  const empty = new pg.Client(newUrl)
  await empty.connect()
  t.strictSame((await empty.query('select id from clerk.users where id = $1', [user.id])).rows, [], 'reset')
  await empty.end()
  await waitUntil('the browser', async () => existsSync(opened) && readFileSync(opened, 'utf8').endsWith('\n'))
  t.equal(readFileSync(opened, 'utf8'), `http://127.0.0.1:${port}/demo\n`)
  anew.child.kill('SIGINT')
  t.equal(await anew.exit, 0)
})

test('each Clerk instance has a database of its own', async (t) => {
  t.equal(databaseName(undefined), 'emulator')
  t.equal(databaseName('https://brave-Lion-12.clerk.accounts.dev'), 'brave_lion_12_clerk_accounts_dev')
  t.equal(databaseName(`https://${'a'.repeat(63)}.example.com`).length, 63)
})

test('a missing browser is a message, not a failure', async (t) => {
  const { promise, resolve } = Promise.withResolvers<Error>()
  const { PATH } = process.env
  process.env.PATH = '/nonexistent'
  for (const platform of ['darwin', 'win32', 'linux'] as const) openBrowser('http://127.0.0.1/', resolve, platform)
  process.env.PATH = PATH
  t.match(await promise, { code: 'ENOENT' })
})

test('dev uses what is set, and says which port is taken', async (t) => {
  const database = await createDatabase(t)
  const port = await freePorts()
  const cwd = t.testdir()
  const run = runNode(
    t,
    [CLI, 'dev'],
    { PORT: String(port), DATABASE_URL: database.url, CLERK_ISSUER: 'http://127.0.0.1:9' },
    { cwd },
  )
  await run.until(/Press Ctrl-C to stop everything/)
  t.notMatch(run.output(), /emulator/i)
  t.notOk(existsSync(join(cwd, '.data/dev.env')), 'nothing is embedded, and nothing written down')
  const reset = runNode(
    t,
    [CLI, 'dev', '--reset'],
    { PORT: String(await freePorts()), DATABASE_URL: database.url },
    { cwd },
  )
  t.equal(await reset.exit, 1)
  t.match(reset.output(), /--reset empties only the embedded database/)
  run.child.kill('SIGINT')
  t.equal(await run.exit, 0)

  const taken = createServer()
  await new Promise<void>((done) => taken.listen(port + 1, '127.0.0.1', done))
  t.teardown(() => taken.close())
  const clash = runNode(t, [CLI, 'dev'], { PORT: String(port) }, { cwd })
  t.equal(await clash.exit, 1)
  t.match(clash.output(), new RegExp(`port ${port + 1} \\(for the Clerk emulator`))
})

test('a data folder that PostgreSQL cannot use is a clear message', async (t) => {
  const cwd = workFolder(t)
  mkdirSync(join(cwd, '.data/postgres'), { recursive: true })
  writeFileSync(join(cwd, '.data/postgres/PG_VERSION'), '9.6\n')
  const run = runNode(t, [CLI, 'dev'], { PORT: String(await freePorts()) }, { cwd })
  t.equal(await run.exit, 1)
  t.match(run.output(), /The embedded PostgreSQL does not start in \.data\/postgres/)
  t.notMatch(run.output(), /\n\s+at /)
})

test('--adopt-instance assigns the database to the instance of the key, and to none without a key', async (t) => {
  const { clerk, database, env, run } = await startCommandLine(t)
  const known = async () =>
    (await database.query("select state->>'id' as id from sync_state where job = 'instance'"))[0]
  t.match(await run('migrate', '--adopt-instance'), {
    code: 0,
    output: `The database now belongs to the Clerk instance ${clerk.instanceId}.`,
  })
  t.strictSame(await known(), { id: clerk.instanceId })
  delete env.CLERK_SECRET_KEY
  t.match(await run('migrate', '--adopt-instance'), { code: 0, output: /no longer belongs to a Clerk instance/ })
  t.equal(await known(), undefined)
})
