/** Where the run's PostgreSQL is: written by tap's `before`, read by every test file. */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

export interface TestServer {
  /** Of a role that may create databases. */
  url: string
  /** Missing for a server that was there before. */
  pid?: number
  directory?: string
}

export const TEMPLATE = 'clerk_session_sync_template'

// Runs at the same time must not share it.
export const POSTGRES_FILE =
  process.env.TEST_POSTGRES_FILE ?? join(import.meta.dirname, '../../.data/test-postgres.json')

export function writeServer(server: TestServer): void {
  mkdirSync(dirname(POSTGRES_FILE), { recursive: true })
  writeFileSync(POSTGRES_FILE, JSON.stringify(server))
}

export function readServer(): TestServer | undefined {
  return existsSync(POSTGRES_FILE) ? JSON.parse(readFileSync(POSTGRES_FILE, 'utf8')) : undefined
}

/** Stops the server that `before` started, now or in a run that was cut off, and removes its data. */
export async function stopServer(server: TestServer | undefined): Promise<void> {
  if (server?.pid && server.directory && isPostgres(server.pid)) {
    process.kill(server.pid, 'SIGINT') // PostgreSQL's fast shutdown
    while (isAlive(server.pid)) await sleep(20)
  }
  if (server?.directory) rmSync(server.directory, { recursive: true, force: true })
  rmSync(POSTGRES_FILE, { force: true })
}

// The process id may be somebody else's by now.
function isPostgres(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('postgres')
  } catch {
    return process.platform !== 'linux' && isAlive(pid)
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
