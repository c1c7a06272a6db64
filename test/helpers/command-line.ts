import { join } from 'node:path'
import { Readable } from 'node:stream'
import type { Test } from 'tap'
import { main } from '../../src/cli/index.ts'
import { type ClerkEmulator, type ClerkEmulatorOptions, createClerkEmulator } from '../../src/emulator/index.ts'
import { createDatabase, type TestDatabase } from './database.ts'
import { ROOT, type RunningProcess, runNode } from './process.ts'
import { forbidInstance, keepLog } from './run-log.ts'

export interface CommandLine {
  clerk: ClerkEmulator
  database: TestDatabase
  /** The settings of every command. */
  env: Record<string, string>
  /** Starts the real program. */
  start(...args: string[]): RunningProcess
  /** The same, with a pipe for stdin. */
  startWithInput(...args: string[]): RunningProcess
  /** Runs it to its end. */
  runProgram(...args: string[]): Promise<Finished>
  /** The same in this process, which spares its start. */
  run(...args: string[]): Promise<Finished>
  /** The same, with Ctrl-C when the signal aborts. */
  runUntil(signal: AbortSignal, ...args: string[]): Promise<Finished>
}

export interface Finished {
  code: number | NodeJS.Signals
  output: string
  // biome-ignore lint/suspicious/noExplicitAny: a test looks into whatever came
  json: any
}

/** The command line on a database of the test's own, with an emulator for Clerk. */
export async function startCommandLine(
  t: Test,
  options: ClerkEmulatorOptions = {},
  more: Record<string, string> = {},
): Promise<CommandLine> {
  const clerk = await createClerkEmulator(options)
  forbidInstance(t, clerk)
  t.teardown(() => clerk.close())
  const database = await createDatabase(t)
  const env = {
    NODE_ENV: 'test',
    DATABASE_URL: database.url,
    CLERK_ISSUER: clerk.issuer,
    CLERK_API_URL: clerk.apiUrl,
    CLERK_SECRET_KEY: clerk.secretKey,
    CLERK_WEBHOOK_SIGNING_SECRET: clerk.webhookSecret,
    ...more,
  }
  const program = join(ROOT, 'src/cli/index.ts')
  const start = (...args: string[]) => runNode(t, [program, ...args], env)
  const startWithInput = (...args: string[]) => runNode(t, [program, ...args], env, { stdio: 'pipe' })
  async function runProgram(...args: string[]): Promise<Finished> {
    const running = start(...args)
    const code = await running.exit
    return { code, output: running.output(), json: parse(args, running.stdout()) }
  }
  const run = (...args: string[]) => runUntil(new AbortController().signal, ...args)
  async function runUntil(signal: AbortSignal, ...args: string[]): Promise<Finished> {
    const written = { stdout: '', both: '' }
    const note = (text: string | Uint8Array, isResult: boolean) => {
      written.both += text
      if (isResult) written.stdout += text
      return true
    }
    const { code = 0 } = await main(args, {
      env,
      stdin: () => Readable.from([]),
      stdout: { write: (text: string | Uint8Array) => note(text, true) },
      stderr: {
        write(text: string | Uint8Array) {
          keepLog(String(text))
          return note(text, false)
        },
      },
      watchSignals: () => signal,
    })
    return { code, output: written.both, json: parse(args, written.stdout) }
  }
  return { clerk, database, env, start, startWithInput, runProgram, run, runUntil }
}

const parse = (args: string[], stdout: string) =>
  args.includes('--json') && stdout !== '' ? JSON.parse(stdout) : undefined
