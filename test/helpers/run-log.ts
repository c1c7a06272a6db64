/**
 * The log lines of every service that a test runs, with what none of them may hold: kept until the end of the run, when
 * `check-logs.ts` reads them. Only where tap's `before` has made the directory.
 */
import { randomBytes } from 'node:crypto'
import { appendFileSync, existsSync, mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import type { ClerkEmulator } from '../../src/emulator/index.ts'
import type { Scope } from './own-postgres.ts'
import { POSTGRES_FILE } from './postgres-server.ts'

// Beside it, since runs at the same time must not share this either.
export const LOG_DIRECTORY = `${POSTGRES_FILE.replace(/\.json$/, '')}-logs`

/** Of one test, of whom it is noted what they are called. */
export const MOST_PEOPLE = 1_000

const name = `${process.pid}-${randomBytes(4).toString('hex')}`
const isKept = existsSync(LOG_DIRECTORY)

/** Where this process writes. */
export const LOG_FILE = join(LOG_DIRECTORY, `${name}.log`)
/** A JSON string a line. */
export const FORBIDDEN_FILE = join(LOG_DIRECTORY, `${name}.forbidden`)

/** Of `before`. */
export function emptyRunLog(): void {
  rmSync(LOG_DIRECTORY, { recursive: true, force: true })
  mkdirSync(LOG_DIRECTORY, { recursive: true })
}

/** Takes one line, or several whole ones. */
export function keepLog(lines: string): void {
  if (isKept) appendFileSync(LOG_FILE, lines.endsWith('\n') ? lines : `${lines}\n`)
}

/** Takes what a process writes, line by line, so that those of several do not mix. */
export function keepStream(stream: Readable | null): void {
  let rest = ''
  stream?.on('data', (data: Buffer | string) => {
    const end = `${rest}${data}`.lastIndexOf('\n') + 1
    const text = rest + data
    rest = text.slice(end)
    if (end > 0) keepLog(text.slice(0, end))
  })
  stream?.once('close', () => rest !== '' && keepLog(rest))
}

/** The options of a Fastify whose log is kept, every level of it. */
export const keptLogger = (also?: (line: string) => void) => ({
  logger: {
    level: 'trace',
    stream: {
      write(line: string) {
        keepLog(line)
        also?.(line)
      },
    },
  },
})

const forbidden = new Set<string>()

/** No line of this process, or of one that it started, may hold any of these. */
export function forbidInLogs(...values: (string | null | undefined)[]): void {
  for (const value of values) {
    if (!value || forbidden.has(value)) continue
    forbidden.add(value)
    if (isKept) appendFileSync(FORBIDDEN_FILE, `${JSON.stringify(value)}\n`)
  }
}

interface Person {
  first_name: string | null
  last_name: string | null
  username: string | null
}

/** The same of what somebody is called. */
export function forbidPeople(people: Iterable<Person>): void {
  for (const { first_name, last_name, username } of people) forbidInLogs(first_name, last_name, username)
}

/** The same of an emulator's secrets now, and of its users at the end of the test. */
export function forbidInstance(t: Scope, { webhookSecret, secretKey, users }: ClerkEmulator): void {
  forbidInLogs(webhookSecret.replace('whsec_', ''), secretKey)
  // Seeded users come by the ten thousand, and are all called the same.
  t.teardown(() => forbidPeople(Iterator.from(users()).take(MOST_PEOPLE)))
}
