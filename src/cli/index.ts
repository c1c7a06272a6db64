#!/usr/bin/env node
/**
 * The command line: `clerk-session-sync <command>`. Results go to stdout, progress to stderr. Exit codes: 0 done, 1 failed or
 * drift found, 2 wrong usage, 130 interrupted.
 */
import { readFileSync, realpathSync } from 'node:fs'
import { Command, CommanderError, InvalidArgumentError } from 'commander'
import { DEFAULT_LANES } from '../clerk/lanes.ts'
import { type ConfigError, type LoadOptions, loadConfig } from '../config.ts'
import { type BackfillFlags, runBackfill } from './backfill.ts'
import { type RetryFlags, runRetry, runStatus, runTail, type TailFlags } from './changes.ts'
import { type Context, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_WRONG_USAGE, onInterrupt } from './context.ts'
import type { DevFlags } from './dev.ts'
import { type DoctorFlags, reportSettings, runDoctor } from './doctor/index.ts'
import { explainFailure } from './failure.ts'
import { type MigrateFlags, runMigrate } from './migrate.ts'
import { createOutput, type Output, type OutputOptions, printable } from './output.ts'
import { type PruneFlags, runPrune } from './prune.ts'
import { type ReconcileFlags, runReconcile } from './reconcile.ts'
import { type ReplayFlags, runReplay } from './replay.ts'
import { runSchema, type SchemaFlags } from './schema.ts'
import { runSync, runUser } from './user.ts'

const LANES = `ranges of creation time to read from Clerk in parallel, within its rate limit (default ${DEFAULT_LANES})`
const MAX_LANES = 64

const DATABASE: LoadOptions = { required: ['DATABASE_URL'] }
const DATABASE_AND_CLERK: LoadOptions = { required: ['DATABASE_URL', 'CLERK_SECRET_KEY'] }
const ALL: LoadOptions = { required: ['DATABASE_URL', 'CLERK_ISSUER'] }

/** What a command needs of its process, so that tests can pass their own. */
export interface Host {
  env: Record<string, string | undefined>
  stdin: () => AsyncIterable<Buffer | string>
  stdout: OutputOptions['stdout']
  stderr: OutputOptions['stderr']
  /** Aborts when the command should stop. */
  watchSignals: (output: Output) => AbortSignal
}

/** The result of a command. After a failure the process ends at once; without a code the service keeps running. */
export interface Ending {
  code?: number
  isFailure?: boolean
}

/** Runs a command with these arguments. Never rejects. */
export async function main(args: readonly string[], host: Host): Promise<Ending> {
  const { env, stdout, stderr } = host
  const ending: Ending = {}
  let signal: AbortSignal | undefined

  const outputOf = (flags: object) => createOutput({ isJson: 'json' in flags, stdout, stderr })

  /** Runs an operator command: loads its settings, makes its output, and keeps its exit code. */
  async function run<Flags extends object>(
    flags: Flags,
    required: LoadOptions,
    command: (context: Context, flags: Flags) => Promise<number>,
  ): Promise<void> {
    const output = outputOf(flags)
    signal = host.watchSignals(output)
    ending.code = await command({ config: loadConfig(env, required), output, signal, stdin: host.stdin }, flags)
  }

  const program = new Command('clerk-session-sync')
    .description(
      "Keeps a backend's users table in sync with Clerk. Settings come from the environment; see docs/settings.md.",
    )
    .version(JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')).version)
    .exitOverride()
    .configureOutput({ writeOut: (text) => stdout.write(text), writeErr: (text) => stderr.write(text) })
    .addHelpText(
      'after',
      `
Exit codes: 0 done, 1 failed or differences found, 2 wrong usage, 130 interrupted.

  clerk-session-sync doctor                     what is wrong?
  clerk-session-sync backfill                   copy every Clerk user; run it again after Ctrl-C to continue
  clerk-session-sync reconcile --fix            find and repair every difference from Clerk
  clerk-session-sync user user_2w5X8yBvTq       one user, here and at Clerk
  clerk-session-sync completion bash            completion for bash, zsh or fish: eval "$(clerk-session-sync completion bash)"`,
    )

  program
    .command('serve')
    .description('run the service, as `node dist/server.js` does')
    .action(async () => {
      // Imported here because only `serve` and `dev` need it, and the other commands start faster without it.
      const { serve } = await import('../server.ts')
      await serve(loadConfig(env))
    })

  program
    .command('dev')
    .description(
      'run the service for development; PostgreSQL (under .data/) and a Clerk emulator are embedded unless configured',
    )
    .option('--open', 'open the browser when the service is ready')
    .option('--reset', 'start with an empty database; the embedded PostgreSQL has one for each Clerk instance')
    .action(async (flags: DevFlags) => {
      const { dev } = await import('./dev.ts')
      ending.code = await dev(loadConfig({ ...env, NODE_ENV: 'development' }), flags)
    })

  const command = (name: string, description: string) =>
    program.command(name).description(description).option('--json', 'print the result as JSON')

  command('migrate', 'apply all pending migrations to the database of DATABASE_URL')
    .option('--status', 'only show which migrations are applied; exit code 1 if some are pending')
    .option('--no-changes', 'turn the change feed off; CHANGES=true turns it on')
    .option(
      '--from-schema <name>',
      'first move the tables and their data from this schema, such as public, to DATABASE_SCHEMA',
    )
    .option('--adopt-instance', 'assign the database to the Clerk instance of CLERK_SECRET_KEY')
    .action((flags: MigrateFlags) => run(flags, DATABASE, runMigrate))

  command(
    'schema',
    "print table definitions for an application's own queries; for Drizzle, import clerk-session-sync/schema",
  )
    .option('--prisma', 'as Prisma models')
    .option('--kysely', 'as Kysely types')
    .option('--sql', 'as the SQL that migrate runs, for an administrator')
    .action((flags: SchemaFlags) => run(flags, { required: [] }, runSchema))

  command('backfill', 'copy every user and organization of Clerk into the tables; resumes after an interruption')
    .option('--restart', 'start again instead of resuming')
    .option('--dry-run', 'write nothing, and show what would be written')
    .option('--emit', 'include these users in the change feed')
    .option('--lanes <count>', LANES, laneCount)
    .action((flags: BackfillFlags) => run(flags, DATABASE_AND_CLERK, runBackfill))

  command('reconcile', 'compare Clerk with the tables and report every difference; exit code 1 if there is any')
    .option('--fix', 'repair the differences')
    .option('--lanes <count>', LANES, laneCount)
    .option(
      '--max-deletions <count>',
      'delete no user if more than this number are missing at Clerk (default 50 or a tenth of the table, whichever is more)',
      number,
    )
    .action((flags: ReconcileFlags, command: Command) => {
      if (flags.maxDeletions !== undefined && !flags.fix) command.error('error: --max-deletions needs --fix')
      return run(flags, DATABASE_AND_CLERK, runReconcile)
    })

  command('replay', 'apply failed webhooks again; exit code 1 if some fail again')
    .option('--list', 'only list them')
    .option('--since <time>', 'only those received since then, such as 2026-01-02 or 2026-01-02T03:04:05Z', time)
    .option('--type <type>', 'only those of this type, such as user.updated')
    .option('--id <id...>', 'only those with these Svix message ids')
    .option('--changes', 'send changes again whose delivery was given up, instead of webhooks (--id: ids of changes)')
    .option('--discard', 'discard the webhooks that --id names, instead of applying them')
    .action((flags: ReplayFlags & { changes?: boolean }, command: Command) => {
      if (flags.discard && !flags.id) command.error('error: --discard needs --id')
      return run(flags, DATABASE, flags.changes ? runRetry : runReplay)
    })

  const changes = program.command('changes').description('the change feed and its consumers')
  changes
    .command('tail')
    .description('print changes as they happen')
    .option('--json', 'print each change as a line of JSON')
    .option('--after <cursor>', 'start after this cursor, at the oldest change (oldest) or now (latest, the default)')
    .option('--no-follow', 'stop at the newest change')
    .action((flags: TailFlags) => run(flags, DATABASE, runTail))
  changes
    .command('status')
    .description('show consumers, how far they are behind, and changes that were given up')
    .option('--json', 'print the result as JSON')
    .action((flags: object) => run(flags, DATABASE, runStatus))
  changes
    .command('retry')
    .description('send changes again whose delivery was given up')
    .option('--json', 'print the result as JSON')
    .option('--list', 'only list them')
    .option('--consumer <name>', 'only those of this consumer; the pushed webhook is named webhook')
    .option('--id <id...>', 'only changes with these ids')
    .action((flags: RetryFlags) => run(flags, DATABASE, runRetry))

  command('prune', 'delete old events and ended sessions; the service does so automatically every hour')
    .option('--days <days>', 'delete events older than this many days (default WEBHOOK_EVENTS_RETENTION_DAYS)', days)
    .action((flags: PruneFlags) => run(flags, DATABASE, runPrune))

  command(
    'user <id>',
    "show one user's row, sessions and last events beside Clerk's data; exit code 1 if they differ",
  ).action((id: string, flags: object) => run(flags, DATABASE, (context) => runUser(context, id)))

  command('sync <id>', "update one user's row from Clerk").action((id: string, flags: object) =>
    run(flags, DATABASE_AND_CLERK, (context) => runSync(context, id)),
  )

  command('doctor', 'check settings, database, Clerk and the running service; exit code 1 if a check fails')
    .option('--url <url>', 'the URL of the service (default from HOST and PORT)')
    .option('--token <jwt>', 'explain claim by claim why this token is accepted or refused; - reads it from stdin')
    .action(async (flags: DoctorFlags) => {
      const problems = findProblems(env, ALL)
      if (problems) ending.code = reportSettings(outputOf(flags), problems)
      else await run(flags, ALL, runDoctor)
    })

  // Only built when completion is requested, so that other commands start faster.
  if (args[0] === 'completion' || args[0] === 'complete') {
    const { default: addCompletion } = await import('@bomb.sh/tab/commander')
    addCompletion(program, { completionCommandName: 'completion' })
  }

  try {
    await program.parseAsync(args, { from: 'user' })
    return ending
  } catch (error) {
    if (error instanceof CommanderError) return { code: error.exitCode === 0 ? 0 : EXIT_WRONG_USAGE }
    if (signal?.aborted) return { code: EXIT_INTERRUPTED, isFailure: true }
    const explain = signal ? explainFailure : (await import('../server.ts')).explain
    stderr.write(`${explain(error).split('\n').map(printable).join('\n')}\n`)
    return { code: EXIT_FAILED, isFailure: true }
  }
}

/** The problems of the settings; undefined if there are none. */
function findProblems(env: Host['env'], required: LoadOptions): readonly string[] | undefined {
  try {
    loadConfig(env, required)
    return undefined
  } catch (error) {
    return (error as ConfigError).problems
  }
}

function number(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('expected a whole number')
  return Number(text)
}

function laneCount(text: string): number {
  const count = number(text)
  if (count < 1 || count > MAX_LANES) throw new InvalidArgumentError(`expected 1 to ${MAX_LANES} lanes`)
  return count
}

function days(text: string): number {
  // Svix redelivers for more than a day; an event deleted from the ledger before that would be applied again.
  if (number(text) < 1) throw new InvalidArgumentError('expected 1 day or more')
  return number(text)
}

function time(text: string): Date {
  const date = new Date(text)
  if (Number.isNaN(date.getTime())) throw new InvalidArgumentError('expected a time such as 2026-01-02T03:04:05Z')
  return date
}

if (process.argv[1] && realpathSync(process.argv[1]) === import.meta.filename) {
  const { env, stdout, stderr } = process
  // The reader of the output, such as `head`, has closed the pipe.
  for (const stream of [stdout, stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error
      process.exit()
    })
  }
  const host: Host = { env, stdin: () => process.stdin, stdout, stderr, watchSignals: onInterrupt }
  const { code, isFailure } = await main(process.argv.slice(2), host)
  if (isFailure) process.exit(code)
  if (code !== undefined) process.exitCode = code
}
