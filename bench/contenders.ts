/** Who is measured: each a process of its own, in production mode, on the server's core. */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import type { Issuer } from './issuer.ts'
import { onServerCore } from './machine.ts'
import { AUTHORIZED_PARTY } from './tokens.ts'

const ROOT = join(import.meta.dirname, '..')
const START_DEADLINE_MS = 30_000
const STOP_DEADLINE_MS = 10_000
const POLL_MS = 5

export const WEBHOOK_SECRET = `whsec_${Buffer.from('a secret of the bench').toString('base64')}`

export interface Running {
  port: number
  pid: number
  /** What it wrote, which at this log level is trouble. */
  output(): string
  stop(): Promise<void>
}

const SECRET_KEY = 'sk_live_bench'

/**
 * The same settings for all; a contender that needs fewer ignores the rest. Without `apiUrl` the service has no secret key and
 * asks nobody.
 */
export function settingsFor(
  name: string,
  issuer: Issuer,
  databaseUrl?: string,
  apiUrl?: string,
): Record<string, string> {
  const common = {
    ...(databaseUrl && { DATABASE_URL: databaseUrl }),
    CLERK_ISSUER: issuer.url,
    CLERK_AUTHORIZED_PARTIES: AUTHORIZED_PARTY,
    CLERK_WEBHOOK_SIGNING_SECRET: WEBHOOK_SECRET,
    ...(apiUrl && {
      CLERK_API_URL: apiUrl,
      CLERK_SECRET_KEY: SECRET_KEY,
      // The sync is measured, not the limit of Clerk's API; nothing else asks the API meanwhile.
      CLERK_API_BUDGET: '1000000',
      CATCH_UP_INTERVAL_SECONDS: '0',
      SYNC_BY_API: 'true',
    }),
  }
  if (name !== 'recipe') return common
  const host = Buffer.from(`${new URL(issuer.url).host}$`).toString('base64')
  return {
    ...common,
    CLERK_PUBLISHABLE_KEY: `pk_live_${host}`,
    CLERK_SECRET_KEY: SECRET_KEY,
    // Networkless, as https://clerk.com/docs/guides/sessions/manual-jwt-verification has it.
    CLERK_JWT_KEY: issuer.publicKey,
  }
}

/** The flags with which `npm start` of a checkout starts the service, and its image does. */
export const flagsOf = (directory: string = ROOT): string[] =>
  JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8'))
    .scripts.start.split(' ')
    .slice(1, -1)

/** Creates the tables of a checkout by its own command line: those of another commit may differ from ours. */
export async function migrateBy(directory: string, databaseUrl: string): Promise<void> {
  const env = { PATH: process.env.PATH, NODE_ENV: 'production', DATABASE_URL: databaseUrl }
  await promisify(execFile)(process.execPath, [join(directory, 'dist/cli/index.js'), 'migrate'], {
    cwd: directory,
    env,
  })
}

/** Starts a file and waits until it answers. */
export async function start(
  file: string,
  settings: Record<string, string>,
  { flags = [], cpuProfDirectory }: { flags?: string[]; cpuProfDirectory?: string } = {},
): Promise<Running> {
  const port = await findFreePort()
  const profiling = cpuProfDirectory ? ['--cpu-prof', `--cpu-prof-dir=${cpuProfDirectory}`] : []
  const child = spawn(...onServerCore(process.execPath, [...flags, ...profiling, file]), {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      PATH: process.env.PATH,
      HOME: process.env.HOME,
      NODE_ENV: 'production',
      LOG_LEVEL: 'warn',
      HOST: '127.0.0.1',
      PORT: String(port),
      ...settings,
    },
  })
  const output = collect(child)
  const exit = once(child, 'exit')
  const kill = () => child.kill('SIGKILL')
  process.once('exit', kill)
  await untilAnswers(child, port).catch((error: Error) => {
    kill()
    throw new Error(`${file} ${error.message}:\n${output()}`)
  })
  return {
    port,
    pid: child.pid as number,
    output,
    async stop() {
      process.removeListener('exit', kill)
      child.kill('SIGTERM')
      const deadline = setTimeout(kill, STOP_DEADLINE_MS)
      await exit
      clearTimeout(deadline)
    },
  }
}

async function untilAnswers(child: ChildProcess, port: number): Promise<void> {
  const giveUpAt = performance.now() + START_DEADLINE_MS
  for (;;) {
    if (child.exitCode !== null || child.signalCode !== null) throw new Error('ended')
    const answer = await fetch(`http://127.0.0.1:${port}/livez`).catch(() => undefined)
    await answer?.body?.cancel()
    if (answer) return
    if (performance.now() > giveUpAt) throw new Error('does not answer')
    await sleep(POLL_MS)
  }
}

const OUTPUT_LENGTH = 4_000

function collect(child: ChildProcess): () => string {
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (text: string) => {
      output = (output + text).slice(-OUTPUT_LENGTH)
    })
  }
  return () => output.trim()
}

async function findFreePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  const { port } = server.address() as { port: number }
  await new Promise((done) => server.close(done))
  return port
}
