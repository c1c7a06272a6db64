import { join } from 'node:path'
import type { Test } from 'tap'
import { type ClerkEmulator, type ClerkEmulatorOptions, createClerkEmulator } from '../../src/emulator/index.ts'
import { createDatabase, type TestDatabase } from './database.ts'
import { ROOT, type RunningProcess, runNode } from './process.ts'

export interface CommandLine {
  clerk: ClerkEmulator
  database: TestDatabase
  /** The settings of every command. */
  env: Record<string, string>
  /** Starts the real program. */
  start(...args: string[]): RunningProcess
  /** Runs it to its end. */
  run(...args: string[]): Promise<Finished>
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
  const start = (...args: string[]) => runNode(t, [join(ROOT, 'src/cli/index.ts'), ...args], env)
  async function run(...args: string[]): Promise<Finished> {
    const running = start(...args)
    const code = await running.exit
    const isJson = args.includes('--json') && running.stdout() !== ''
    return { code, output: running.output(), json: isJson ? JSON.parse(running.stdout()) : undefined }
  }
  return { clerk, database, env, start, run }
}
