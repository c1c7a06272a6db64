/** `npm run dev`: embedded PostgreSQL, Clerk emulator and the service, which restarts when its code changes. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { createServer } from 'node:net'
import { extname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Config } from '../config.ts'
import { dashboardLink, withDashboardToken } from '../dashboard-token.ts'
import { type Embedded, embedMissing } from '../embedded/index.ts'
import { prepareClerk } from './dev-clerk.ts'
import { DEV_ENV_FILE, writeDevEnv } from './dev-env.ts'
import { openBrowser } from './open-browser.ts'

const EXTENSION = extname(import.meta.filename)
const fileOf = (name: string) => fileURLToPath(new URL(`../${name}${EXTENSION}`, import.meta.url))
// Watches for changes only in a source checkout; an installed package does not change.
const IS_WATCHED = EXTENSION === '.ts'
const TOKEN_TTL_SECONDS = 3_600

export interface DevFlags {
  /** Open the browser when the service is ready. */
  open?: boolean
  /** Start with an empty database. */
  reset?: boolean
}

const say = (line: string) => console.error(`  ${line} …`)

/** Runs until Ctrl-C or SIGTERM, and leaves no process behind. Resolves to the exit code; rejects if something cannot start. */
export async function dev(config: Config, { open = false, reset = false }: DevFlags = {}): Promise<number> {
  if (reset && config.DATABASE_URL) {
    throw new Error('--reset empties only the embedded database, but DATABASE_URL is set: empty that database yourself')
  }
  const emulatorPort = config.PORT + 1
  await assertFree(config.PORT, 'the service', 'PORT')
  if (!config.CLERK_ISSUER) await assertFree(emulatorPort, 'the Clerk emulator, one above PORT', 'PORT')

  const stopped = once(process, 'SIGINT').then(() => undefined)
  const terminated = once(process, 'SIGTERM').then(() => undefined)
  // The demo can simulate failures, so it is served only beside the embedded emulator.
  const hasDemo = !config.CLERK_ISSUER && !config.DATABASE_URL && (await buildDemo())
  const embedded = await embedMissing(
    withDashboardToken(config),
    { port: emulatorPort, tokenTtlSeconds: TOKEN_TTL_SECONDS },
    { isReset: reset, onProgress: say },
  )
  const isEmbedded = embedded.config.DATABASE_URL !== config.DATABASE_URL || embedded.emulator !== undefined
  if (isEmbedded) writeDevEnv(config, embedded.config)
  const found = await askClerk(embedded)
  say('starting the service')
  const service = startService(embedded.config, fileOf(hasDemo ? 'demo/server' : 'server'))
  const ended = once(service, 'exit')
  try {
    untilReady(config.PORT).then(() => {
      announce(embedded, { hasDemo, isEmbedded, found })
      if (!open) return
      const page = hasDemo ? '/demo' : '/docs'
      openBrowser(`http://127.0.0.1:${config.PORT}${page}`, ({ message }) => say(`no browser was opened: ${message}`))
    })
    const [code] = (await Promise.race([stopped, terminated, ended])) ?? [0]
    return code ?? 1
  } finally {
    service.kill('SIGTERM')
    await ended
    await embedded.stop()
  }
}

/** Prepares a real Clerk instance and returns the lines to show; none with the emulator. Stops everything if a key is wrong. */
async function askClerk({ config, emulator, stop }: Embedded): Promise<string[]> {
  if (emulator || !config.CLERK_SECRET_KEY) return []
  say('connecting to Clerk')
  const interrupted = new AbortController()
  const abort = () => interrupted.abort(new Error('interrupted'))
  process.once('SIGINT', abort).once('SIGTERM', abort)
  try {
    return await prepareClerk(config, interrupted.signal)
  } catch (error) {
    await stop()
    throw error
  } finally {
    process.off('SIGINT', abort).off('SIGTERM', abort)
  }
}

// The published package does not include the demo.
async function buildDemo(): Promise<boolean> {
  if (!existsSync(fileOf('demo/build'))) return false
  say("building the demo's page")
  const { buildDemo, PAGE_DIRECTORY } = await import('../demo/build.ts')
  return buildDemo(PAGE_DIRECTORY)
}

function startService(config: Config, file: string): ChildProcess {
  return spawn(process.execPath, [...(IS_WATCHED ? ['--watch', '--watch-preserve-output'] : []), file], {
    stdio: ['ignore', 'inherit', 'inherit'],
    env: {
      ...process.env,
      NODE_ENV: config.NODE_ENV,
      DATABASE_URL: config.DATABASE_URL,
      CLERK_ISSUER: config.CLERK_ISSUER,
      CLERK_API_URL: config.CLERK_API_URL,
      CLERK_SECRET_KEY: config.CLERK_SECRET_KEY,
      DASHBOARD_TOKEN: config.DASHBOARD_TOKEN,
      // Off with the emulator, whose webhooks are lost on purpose.
      CATCH_UP_INTERVAL_SECONDS: String(config.CATCH_UP_INTERVAL_SECONDS),
      CLERK_WEBHOOK_SIGNING_SECRET: config.CLERK_WEBHOOK_SIGNING_SECRET.join(','),
    },
  })
}

// Does not reject: a service that fails to start logs the reason, and restarts when its code changes.
async function untilReady(port: number): Promise<void> {
  const isReady = () =>
    fetch(`http://127.0.0.1:${port}/readyz`).then(
      ({ ok }) => ok,
      () => false,
    )
  while (!(await isReady())) await sleep(100, undefined, { ref: false })
}

async function assertFree(port: number, user: string, setting: string): Promise<void> {
  const server = createServer()
  try {
    await new Promise<void>((done, fail) => server.once('error', fail).listen(port, '127.0.0.1', done))
    await new Promise((done) => server.close(done))
  } catch {
    throw new Error(`port ${port} (for ${user}) is in use: stop the program that listens there, or set ${setting}`)
  }
}

/** Prints all URLs, a token and commands to try. */
function announce(
  { config, emulator }: Embedded,
  { hasDemo, isEmbedded, found }: { hasDemo: boolean; isEmbedded: boolean; found: string[] },
): void {
  const url = `http://127.0.0.1:${config.PORT}`
  const lines = [
    '',
    '  clerk-session-sync is running',
    '',
    `  service         ${url}`,
    `  dashboard       ${dashboardLink(url, config.DASHBOARD_TOKEN as string)}`,
    `  API docs        ${url}/docs`,
    `  PostgreSQL      ${config.DATABASE_URL}`,
  ]
  if (found.length > 0) {
    lines.push('', ...found.map((line) => `  ${line}`))
    lines.push(`  call            curl -H "Authorization: Bearer <session token>" ${url}/api/auth/profile`)
  }
  if (hasDemo) lines.splice(3, 0, `  demo            ${url}/demo`)
  if (emulator) {
    // Ada signed in, but the webhooks about her were lost: without on-demand sync she would end in a login loop.
    emulator.webhooks.dropNext(3)
    const ada = emulator.createUser({ email: 'ada@example.com', firstName: 'Ada', lastName: 'Lovelace' })
    const token = emulator.sessionToken(emulator.signIn(ada.id).id)
    lines.push(
      `  Clerk emulator  ${emulator.url}/emulator/state`,
      '',
      '  Ada has signed in at Clerk, and the webhooks about her were lost. Her token (valid for an hour):',
      '',
      `  TOKEN=${token}`,
      '',
      '  Try:',
      '',
      `  curl -H "Authorization: Bearer $TOKEN" ${url}/api/auth/profile`,
      `  curl -X POST -H "Authorization: Bearer $TOKEN" ${url}/api/auth/sync-user`,
      `  curl -X DELETE ${emulator.url}/emulator/users/${ada.id}`,
    )
  }
  if (isEmbedded) {
    const command = IS_WATCHED ? 'node src/cli/index.ts' : 'npx clerk-session-sync'
    lines.push('', '  The command line with these settings, in another terminal:', '')
    lines.push(`  set -a; . ./${DEV_ENV_FILE}; set +a`, `  ${command} doctor`)
  }
  lines.push('', '  Press Ctrl-C to stop everything.', '')
  console.log(lines.join('\n'))
}
