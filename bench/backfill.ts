/** `backfill` from the emulator, against the same rows by plain COPY plus upsert. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { dirname, extname, join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { createClerkEmulator } from '../src/emulator/index.ts'
import { memoryMb, moveToOtherCore, onServerCore } from './machine.ts'
import type { BackfillCase, Options } from './options.ts'
import type { Progress } from './peers.ts'
import { type Database, type Postgres, startPostgres } from './postgres.ts'
import { decimal, table } from './table.ts'

export interface BackfillFigures extends BackfillCase {
  /** From the first request to the last commit. */
  seconds: number
  usersPerSecond: number
  requestsPerSecond: number
  /** The same rows: COPY into a table without indexes, then one upsert, in one transaction. */
  copySeconds: number
  peakMb: number
  faults: string[]
}

// Of a production instance: Clerk lets those ask ten times as often.
const SECRET_KEY = 'sk_live_bench0000000000000000000000000000000'
const POLL_MS = 20

/** Measures each case on a database of its own. */
export async function runBackfills(options: Options, progress: Progress): Promise<BackfillFigures[]> {
  moveToOtherCore()
  let postgres: Postgres | undefined
  const figures: BackfillFigures[] = []
  try {
    postgres = await startPostgres()
    for (const [at, measured] of options.backfillCases.entries()) {
      const { users, pageMs, lanes } = measured
      progress(`backfilling ${users} users at ${pageMs} ms a page in ${lanes} lanes`)
      const database = await postgres.createDatabase(`backfill_${at}`, 0, 0)
      figures.push(await runBackfill(measured, options, database))
    }
    return figures
  } finally {
    await postgres?.stop()
  }
}

async function runBackfill(measured: BackfillCase, { service }: Options, database: Database): Promise<BackfillFigures> {
  const { users, pageMs, lanes } = measured
  const clerk = await createClerkEmulator({ secretKey: SECRET_KEY, rateLimit: 'clerk' })
  try {
    clerk.seedUsers(users)
    if (pageMs > 0) clerk.faults.api = { delayMs: pageMs }
    const cli = join(dirname(service), 'cli', `index${extname(service)}`)
    const [command, args] = onServerCore(process.execPath, [cli, 'backfill', '--json', '--lanes', String(lanes)])
    const env = { PATH: process.env.PATH, NODE_ENV: 'production', DATABASE_URL: database.url }
    const child = spawn(command, args, {
      env: { ...env, CLERK_API_URL: clerk.apiUrl, CLERK_SECRET_KEY: SECRET_KEY },
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    const [output, peakMb] = await Promise.all([text(child.stdout), watchMemory(child)])
    const { seconds, requests, created } = JSON.parse(output)
    const copySeconds = await measureCopy(database)
    const [row] = await database.query<{ count: number }>('select count(*)::int from users')
    const faults: string[] = []
    if (created !== users || row?.count !== users) faults.push(`${created} of ${users} users were created`)
    if (clerk.stats.rateLimited > 0) faults.push(`${clerk.stats.rateLimited} requests were over the limit`)
    return {
      ...measured,
      seconds,
      usersPerSecond: users / seconds,
      requestsPerSecond: requests / seconds,
      copySeconds,
      peakMb,
      faults,
    }
  } finally {
    await clerk.close()
  }
}

/** The most memory that the process had. */
async function watchMemory(child: ChildProcess): Promise<number> {
  const exit = once(child, 'exit')
  let isOver = false
  exit.then(() => {
    isOver = true
  })
  let peakMb = 0
  while (!isOver) {
    const { peak } = memoryMb(child.pid as number)
    if (peak > peakMb) peakMb = peak
    await sleep(POLL_MS)
  }
  return peakMb
}

const COLUMNS =
  'id, email, email_verified, first_name, last_name, username, image_url, public_metadata, last_sign_in_at, banned, clerk_created_at, clerk_updated_at, sync_source'

/** How long PostgreSQL takes for the rows that the backfill left, from a file and with nothing to decide. */
async function measureCopy({ query }: Database): Promise<number> {
  const [row] = await query<{ directory: string }>(`select current_setting('data_directory') as directory`)
  const file = `'${row?.directory}/users.copy'`
  await query(`copy (select ${COLUMNS} from users) to ${file}`)
  await query('truncate users')
  await query('checkpoint')
  const startedAt = performance.now()
  await query('begin')
  await query(`create temporary table staged (like users including defaults) on commit drop`)
  await query(`copy staged (${COLUMNS}) from ${file}`)
  const set = COLUMNS.split(', ').map((column) => `${column} = excluded.${column}`)
  await query(`insert into users (${COLUMNS}) select ${COLUMNS} from staged order by id
    on conflict (id) do update set ${set.join(', ')} where excluded.clerk_updated_at >= users.clerk_updated_at`)
  await query('commit')
  return (performance.now() - startedAt) / 1_000
}

export function reportBackfills(figures: BackfillFigures[]): string {
  const rows = figures.map((figure) => [
    decimal(figure.users),
    decimal(figure.pageMs),
    decimal(figure.lanes),
    figure.faults.length > 0 ? 'VOID' : decimal(figure.usersPerSecond),
    decimal(figure.requestsPerSecond, 1),
    decimal(figure.seconds, 1),
    decimal(figure.copySeconds, 1),
    decimal(figure.copySeconds / figure.seconds, 2),
    decimal(figure.peakMb),
  ])
  const head = [
    'users',
    'ms a page',
    'lanes',
    'users/s',
    'requests/s',
    'seconds',
    'COPY + upsert, s',
    'ratio',
    'peak MB',
  ]
  return `### backfill\n\n${table(head, rows)}`
}
