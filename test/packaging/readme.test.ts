import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { type Test, test } from 'tap'
import { type ConfigError, loadConfig } from '../../src/config.ts'
import * as errors from '../../src/errors.ts'
import { EVENT_TYPES } from '../../src/resources/index.ts'
import { claimsChange } from '../../src/resources/user/change.ts'
import { settingsOf } from '../helpers/production.ts'
import { keepStream } from '../helpers/run-log.ts'
import { startService } from '../helpers/service.ts'
import { blockOf, blocksOf, ROOT, read, rowsOf, settingNames } from './markdown.ts'

const README = 'README.md'
const canCurl = spawnSync('curl', ['--json', '{}', '--version']).status === 0 && process.platform !== 'win32'

test('the commands of docs/try-it.md do what they say, in order', {
  timeout: 180_000,
  skip: canCurl ? false : 'NOT RUN: needs sh and curl 7.82 or newer',
}, async (t) => {
  const { port, emulatorPort, output: printed } = await startDev(t)
  const [, dashboard = '', token] = /^ {2}dashboard {7}(\S+)#token=(\S+)$/m.exec(printed) ?? []
  const overview = await fetch(`${dashboard}/api/overview`, { headers: { authorization: `Bearer ${token}` } })
  t.equal(overview.status, 200, 'the printed link opens the dashboard')
  const blocks = blocksOf('docs/try-it.md', 'try')
  t.ok(blocks.length >= 5)
  const separator = '-----next-----'
  const script = blocks
    .map(({ code }) => code)
    .join(`\necho ${separator}\n`)
    .replaceAll('127.0.0.1:3000', `127.0.0.1:${port}`)
    .replaceAll('127.0.0.1:3001', `127.0.0.1:${emulatorPort}`)
    // A busy machine may need longer than the reader's.
    .replaceAll(/^sleep 1$/gm, 'sleep 4')
  for (const time of ['once', 'twice']) {
    const shell = spawnSync('sh', ['-eu'], { input: script, encoding: 'utf8', timeout: 60_000 })
    t.equal(shell.status, 0, shell.stderr)
    const outputs = shell.stdout.split(`${separator}\n`)
    t.equal(outputs.length, blocks.length)
    for (const [at, { output = '' }] of blocks.entries()) t.match(outputs[at], asPattern(output), `${time}: ${output}`)
  }

  const { deliveries } = (await (await fetch(`http://127.0.0.1:${emulatorPort}/emulator/state`)).json()) as State
  const lost = deliveries.filter(({ state, body }) => state === 'dropped' && body.includes('grace@example.com'))
  t.equal(lost.length, 8, 'the webhooks that it calls lost')
})

test('the plugins mount as shown', { timeout: 60_000 }, async (t) => {
  const { clerk, database } = await startService(t)
  const directory = temporaryDirectory(t)
  // The package's name stands for the sources here, so that no build is needed.
  const self = join(directory, 'node_modules/clerk-session-sync')
  mkdirSync(self, { recursive: true })
  writeFileSync(join(self, 'package.json'), '{"type": "module", "exports": "./index.js"}')
  writeFileSync(join(self, 'index.js'), `export * from '${pathToFileURL(join(ROOT, 'src/index.ts'))}'`)
  symlinkSync(join(ROOT, 'node_modules/fastify'), join(directory, 'node_modules/fastify'))
  // TypeScript, whichever the block is.
  writeFileSync(join(directory, 'app.ts'), blockOf(README, 'mount'))
  const { port } = await freePorts()
  const child = start(t, ['app.ts'], directory, {
    PORT: String(port),
    ...settingsOf(clerk, database),
  })
  await child.printed('Server listening')

  clerk.webhooks.url = undefined
  const ada = clerk.createUser({ email: 'ada@example.com' })
  const headers = { authorization: `Bearer ${clerk.sessionToken(clerk.signIn(ada.id).id)}` }
  const get = (path: string, init?: RequestInit) => fetch(`http://localhost:${port}${path}`, init)
  t.strictSame(await (await get('/orders', { headers })).json(), { for: 'ada@example.com' })
  t.strictSame(await (await get('/whoami', { headers })).json(), { id: ada.id })
  t.equal((await get('/orders')).status, 401)
  t.equal(
    (await get('/clerk', { method: 'POST', body: '{}', headers: { 'content-type': 'application/json' } })).status,
    400,
  )
})

test('the settings are those of config.ts, with its defaults', async (t) => {
  const names = settingNames()
  t.ok(names.length >= 20, 'the names are found')
  const rows = rowsOf('docs/settings.md', /^`[A-Z_]+`$/)
  const named = rows.map(([name = '']) => name.slice(1, -1))
  t.strictSame(named.toSorted(), names.toSorted(), 'docs/settings.md')

  const defaults = loadConfig({}, { dotenvPath: '/nonexistent/.env' }) as unknown as Record<string, unknown>
  for (const [name = '', , fallback = ''] of rows) {
    const value = defaults[name.slice(1, -1)]
    const isUnset = value === undefined || (Array.isArray(value) && value.length === 0)
    const shown = /^`([^`]*)`/.exec(fallback)?.[1]
    t.equal(shown, isUnset ? undefined : String(value), `${name} defaults to ${fallback}`)
  }
  const required = rows.flatMap(([name = '', , fallback = '']) =>
    fallback.startsWith('required') ? name.slice(1, -1) : [],
  )
  t.strictSame(missingInProduction().toSorted(), required.toSorted(), 'what production demands')
})

test('.env.example has every setting, each with a comment, and only defaults', async (t) => {
  const lines = read('.env.example').split('\n')
  const settings = lines.flatMap((line, at) => {
    const [, name, value] = /^([A-Z_]+)=(.*)$/.exec(line) ?? []
    return name === undefined ? [] : { name, value, comment: lines[at - 1] ?? '' }
  })
  const names = settings.map(({ name }) => name)
  t.strictSame(
    names.toSorted(),
    [...settingNames(), 'DOMAIN', 'POSTGRES_PASSWORD'].toSorted(),
    'the last two are for compose',
  )
  const defaults = loadConfig({}, { dotenvPath: '/nonexistent/.env' }) as unknown as Record<string, unknown>
  for (const { name, value, comment } of settings) {
    t.match(comment, /^# (?!---)\S.{10,}/, `${name} has its comment`)
    if (value !== '') t.equal(value, String(defaults[name]), `${name} has its default`)
  }
  t.strictSame(
    loadConfig({}, { dotenvPath: join(ROOT, '.env.example') }),
    loadConfig({}, { dotenvPath: '/nonexistent/.env' }),
    'a copy changes nothing',
  )
})

test('every session claim of docs/clerk.md is read', async (t) => {
  const template = JSON.parse(blockOf('docs/clerk.md', 'claims')) as Record<string, string>
  const claims = Object.fromEntries(
    Object.keys(template).map((name) => [
      name,
      name === 'email_verified' ? true : name === 'public_metadata' ? {} : 'x',
    ]),
  )
  const { profile } = claimsChange({ userId: 'user_1', sessionId: null, claims, issuedAtSeconds: 0 })
  t.equal(Object.keys(profile).length, Object.keys(template).length)
  for (const shortcode of Object.values(template)) t.match(shortcode, /^\{\{user\.[a-z_]+\}\}$/)
})

test('every error code is explained, and no other', async (t) => {
  const codes = Object.values(errors).flatMap((value) => {
    if (typeof value !== 'function' || !('prototype' in value) || !(value.prototype instanceof Error)) return []
    const error = new (value as new () => Error & { statusCode: number; code: string })()
    return `${error.statusCode} ${error.code}`
  })
  t.ok(codes.length >= 14, 'the codes are found')
  const shown = rowsOf(README, /^[45]\d\d$/).flatMap(([status, cell = '']) =>
    [...cell.matchAll(/[A-Z_]+/g)].map(([code]) => `${status} ${code}`),
  )
  t.strictSame(shown.toSorted(), [...codes, '500 INTERNAL_SERVER_ERROR'].toSorted())
})

test('every route, event type and script in the documentation exists', async (t) => {
  const { app } = await startService(t, {
    settings: { CHANGES: 'true', CHANGES_TOKEN: 'token-of-the-feed', DASHBOARD_TOKEN: 'token-of-the-dashboard' },
  })
  const text = read(README)
  const routes = [...text.matchAll(/`(GET|POST) (\/[^`]*)`/g)]
  t.ok(routes.length >= 8)
  for (const [, method = '', url = ''] of routes) {
    const address = url === '/docs' ? '/docs/' : url
    t.ok(app.hasRoute({ method: method as 'GET', url: address }), `${method} ${url}`)
  }
  const events = [
    ...read('docs/clerk.md').matchAll(/`((?:user|session|role|organization(?:Membership|Invitation)?)\.[a-z]+)`/g),
  ].map(([, type]) => type as string)
  t.strictSame(events.toSorted(), EVENT_TYPES.toSorted())
  const { scripts } = JSON.parse(read('package.json'))
  for (const [, script = ''] of text.matchAll(/npm run ([\w:]+)/g)) t.ok(script in scripts, `npm run ${script}`)
})

interface State {
  deliveries: { state: string; body: string }[]
}

interface Running {
  child: ChildProcess
  /** Resolves when it has printed this; rejects when it ends before. */
  printed(text: string): Promise<string>
}

/** `node …` in a process group of its own, which gets a SIGINT as from Ctrl-C at the end of the test. */
function start(t: Test, args: string[], cwd: string, env: Record<string, string>): Running {
  const settings = new Set(settingNames())
  const inherited = Object.entries(process.env).filter(([name]) => !settings.has(name))
  const child = spawn(process.execPath, args, {
    cwd,
    env: { ...Object.fromEntries(inherited), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  })
  // What `dev` prints is for its user to copy, a token among it.
  if (!args.includes('dev')) for (const stream of [child.stdout, child.stderr]) keepStream(stream)
  let output = ''
  const isOver = () => child.exitCode !== null || child.signalCode !== null
  child.stdout.on('data', (chunk) => {
    output += chunk
  })
  child.stderr.on('data', (chunk) => {
    output += chunk
  })
  t.teardown(async () => {
    if (isOver()) return
    const exit = once(child, 'exit')
    process.kill(-(child.pid as number), 'SIGINT')
    await exit
  })
  return {
    child,
    async printed(text) {
      while (!output.includes(text)) {
        if (isOver()) throw new Error(`it ended before "${text}":\n${output}`)
        await Promise.race([once(child.stdout, 'data'), once(child, 'exit')])
      }
      return output
    },
  }
}

/** `npm run dev` on free ports, with its data in a directory of its own. */
async function startDev(t: Test): Promise<{ port: number; emulatorPort: number; output: string }> {
  const directory = temporaryDirectory(t)
  const { port, emulatorPort } = await freePorts()
  const dev = start(t, [join(ROOT, 'src/cli/index.ts'), 'dev'], directory, { PORT: String(port) })
  const output = await dev.printed('Press Ctrl-C to stop everything.')
  return { port, emulatorPort, output }
}

function temporaryDirectory(t: Test): string {
  const directory = mkdtempSync(join(tmpdir(), 'clerk-session-sync-readme-'))
  chmodSync(directory, 0o711) // As root, PostgreSQL runs as another user.
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  return directory
}

/** A free port with a free one above it, as `npm run dev` wants them. */
async function freePorts(): Promise<{ port: number; emulatorPort: number }> {
  for (;;) {
    const port = await listenOnce(0)
    const above = await listenOnce(port + 1).catch(() => undefined)
    if (above !== undefined) return { port, emulatorPort: above }
  }
}

async function listenOnce(wanted: number): Promise<number> {
  const server = createServer()
  await new Promise<void>((done, fail) => server.once('error', fail).listen(wanted, '127.0.0.1', done))
  const { port } = server.address() as { port: number }
  await new Promise((done) => server.close(done))
  return port
}

/** The output as the README shows it: `…` stands for anything. */
function asPattern(output: string): RegExp {
  const parts = output.trim().split('…')
  return new RegExp(`^${parts.map((part) => part.replaceAll(/[$()*+.?[\\\]^{|}]/g, String.raw`\$&`)).join('.*')}\\s*$`)
}

function missingInProduction(): string[] {
  try {
    loadConfig({ NODE_ENV: 'production' }, { dotenvPath: '/nonexistent/.env' })
    return []
  } catch (error) {
    return (error as ConfigError).problems.map((problem) => problem.split(' ', 1)[0] as string)
  }
}
