import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import pg from 'pg'
import { type Test, test } from 'tap'
import { loadConfig } from '../../src/config.ts'
import { embedMissing } from '../../src/embedded/index.ts'
import { startEmbeddedPostgres } from '../../src/embedded/postgres.ts'
import { ROOT, runNode } from '../helpers/process.ts'

function folder(t: Test, mode: number): string {
  const path = mkdtempSync(join(tmpdir(), 'clerk-session-sync-embedded-'))
  chmodSync(path, mode)
  t.teardown(() => rmSync(path, { recursive: true, force: true }))
  return path
}

async function serves(url: string): Promise<boolean> {
  const client = new pg.Client(url)
  await client.connect()
  const { rows } = await client.query('select 1 as one')
  await client.end()
  return rows[0].one === 1
}

for (const [name, mode] of [
  ['a folder that others may enter', 0o711],
  ['a folder that only its owner may enter', 0o700],
] as const) {
  test(`PostgreSQL starts in ${name}, also for root, and can be stopped twice`, async (t) => {
    const directory = join(folder(t, mode), 'a', 'data')
    const postgres = await startEmbeddedPostgres({ directory })
    t.teardown(() => rmSync(dirname(postgres.directory), { recursive: true, force: true }))
    t.ok(await serves(postgres.url))
    await t.rejects(startEmbeddedPostgres({ directory }), {
      message: new RegExp(`process ${postgres.pid}\\) already uses`),
    })
    await postgres.stop()
    await postgres.stop()
    t.throws(() => process.kill(postgres.pid, 0), { code: 'ESRCH' } as never)
    const again = await startEmbeddedPostgres({ directory })
    t.ok(await serves(again.url))
    await again.stop()
  })
}

test('what PostgreSQL says is passed on when it does not start', async (t) => {
  const directory = join(folder(t, 0o711), 'data')
  await t.rejects(startEmbeddedPostgres({ directory, settings: ['nonsense=1'] }), {
    message: /does not start in .*nonsense/s,
  })
  const full = folder(t, 0o711)
  writeFileSync(join(full, 'something'), '')
  await t.rejects(startEmbeddedPostgres({ directory: full }), { message: /does not start in .*not empty/s })
})

test('a platform without binaries is a sentence that names the mend', async (t) => {
  const arch = Object.getOwnPropertyDescriptor(process, 'arch') as PropertyDescriptor
  Object.defineProperty(process, 'arch', { ...arch, value: 'pdp11' })
  t.teardown(() => Object.defineProperty(process, 'arch', arch))
  await t.rejects(startEmbeddedPostgres({ directory: join(t.testdir(), 'data') }), {
    message: /set DATABASE_URL, or npm install/,
  })
})

for (const [name, uid] of [
  ['root', 0],
  ['another user', 1000],
] as const) {
  test(`taken for ${name}, it starts, or says what PostgreSQL or the system says`, async (t) => {
    const really = process.getuid
    process.getuid = () => uid
    t.teardown(() => {
      process.getuid = really
    })
    const directory = join(folder(t, 0o711), 'data')
    const started = startEmbeddedPostgres({ directory })
    if ((really?.() === 0) === (uid === 0)) await (await started).stop()
    else await t.rejects(started, { message: /does not start in .*(root|EPERM)/s })
  })
}

test('a process that exits without stopping its server does not leave it behind', async (t) => {
  const directory = join(folder(t, 0o711), 'data')
  const script = `import { startEmbeddedPostgres } from ${JSON.stringify(join(ROOT, 'src/embedded/postgres.ts'))}
    const { pid } = await startEmbeddedPostgres({ directory: ${JSON.stringify(directory)} })
    console.log('pid', pid)
    process.exit(3)`
  const run = runNode(t, ['--input-type=module', '--eval', script], {})
  t.equal(await run.exit, 3)
  const [, pid] = /pid (\d+)/.exec(run.output()) as RegExpExecArray
  const isAlive = () => existsSync(join(directory, 'postmaster.pid'))
  while (isAlive()) await new Promise((done) => setTimeout(done, 20))
  t.notOk(isAlive(), `PostgreSQL (process ${pid}) has ended`)
})

test('in production nothing is embedded', async (t) => {
  const config = loadConfig({
    NODE_ENV: 'production',
    DATABASE_URL: 'postgres://db/app',
    CLERK_ISSUER: 'https://clerk.example.com',
    CLERK_WEBHOOK_SIGNING_SECRET: 'whsec_b2xk',
  })
  const embedded = await embedMissing(config)
  t.equal(embedded.config, config)
  t.equal(embedded.emulator, undefined)
  await embedded.stop()
})
