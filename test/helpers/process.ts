import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { join } from 'node:path'
import type { Test } from 'tap'
import { keepStream } from './run-log.ts'

export const ROOT = join(import.meta.dirname, '../..')

export interface RunningProcess {
  child: ChildProcess
  /** What it wrote to stdout and stderr so far. */
  output(): string
  stdout(): string
  /** Resolves when its output matches; rejects with the output when it ends before. */
  until(pattern: RegExp): Promise<RegExpExecArray>
  /** Its exit code, or the signal that ended it. */
  exit: Promise<number | NodeJS.Signals>
}

/** Runs Node on a file of the project with this environment alone; it is killed at the end of the test at the latest. */
export function runNode(
  t: Test,
  args: string[],
  env: Record<string, string>,
  options: SpawnOptions = {},
): RunningProcess {
  // NODE_OPTIONS and the like are how tap measures what runs in there.
  const measuring = Object.entries(process.env).filter(([name]) => /^(_?TAPJS?|NODE_V8|NODE_OPTIONS)/.test(name))
  return run(t, process.execPath, args, {
    ...options,
    env: { PATH: process.env.PATH, HOME: process.env.HOME, ...Object.fromEntries(measuring), ...env },
  })
}

/** Runs Node on what was built, out of tap's reach: it measures the sources. */
export function runBuilt(t: Test, args: string[], env: Record<string, string>): RunningProcess {
  const variables = Object.entries({ PATH: process.env.PATH, HOME: process.env.HOME, ...env })
  const command = ['-i', ...variables.map(([name, value]) => `${name}=${value}`), process.execPath, ...args]
  return run(t, '/usr/bin/env', command, {})
}

/** Runs another program with this environment. */
export const runProgram = (t: Test, command: string, args: string[], env: Record<string, string>): RunningProcess =>
  run(t, command, args, { env: { PATH: process.env.PATH, ...env } })

function run(t: Test, command: string, args: string[], options: SpawnOptions): RunningProcess {
  const child = spawn(command, args, {
    cwd: ROOT,
    ...options,
    stdio: [options.stdio === 'pipe' ? 'pipe' : 'ignore', 'pipe', 'pipe'],
  })
  let output = ''
  let stdout = ''
  child.stdout?.setEncoding('utf8').on('data', (text) => {
    output += text
    stdout += text
  })
  child.stderr?.setEncoding('utf8').on('data', (text) => (output += text))
  if (logsOn(args, 'stdout')) keepStream(child.stdout)
  if (logsOn(args, 'stderr')) keepStream(child.stderr)
  const exit = once(child, 'close').then(([code, signal]) => code ?? signal)
  t.teardown(async () => {
    child.kill('SIGKILL')
    await exit
  })
  async function until(pattern: RegExp): Promise<RegExpExecArray> {
    for (;;) {
      const match = pattern.exec(output)
      if (match) return match
      const data = Promise.race([
        once(child.stdout as NodeJS.EventEmitter, 'data'),
        once(child.stderr as NodeJS.EventEmitter, 'data'),
      ])
      const ended = await Promise.race([data.then(() => false), exit.then(() => true)])
      if (ended && !pattern.test(output)) throw new Error(`ended without ${pattern}:\n${output}`)
    }
  }
  return { child, output: () => output, stdout: () => stdout, until, exit }
}

/**
 * Whether what it writes there is a log. The stdout of a command is its result, which for `user` is about a person; and `dev`
 * prints a token and the database's URL for its user to copy.
 */
function logsOn(args: string[], stream: 'stdout' | 'stderr'): boolean {
  if (args.includes('dev')) return false
  return stream === 'stderr' || args.some((arg) => /server\.[jt]s$/.test(arg) || arg === 'serve')
}

/** A port of loopback that nothing listens on, and of which the next one is free too. */
export async function freePorts(): Promise<number> {
  for (;;) {
    const first = await listen(0)
    const { port } = first.address() as { port: number }
    const second = await listen(port + 1).catch(() => undefined)
    await new Promise((done) => first.close(done))
    if (!second) continue
    await new Promise((done) => second.close(done))
    return port
  }
}

async function listen(port: number) {
  const server = createServer()
  await new Promise<void>((done, fail) => server.once('error', fail).listen(port, '127.0.0.1', done))
  return server
}
