import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/embedded/postgres.ts'

/** Whatever runs clean-ups at its end: a test, or a program. */
export interface Scope {
  teardown(cleanUp: () => unknown): unknown
}

/** A PostgreSQL of the test's own, to be stopped, killed and frozen. Its address never changes. */
export interface OwnPostgres {
  url: string
  directory: string
  start(): Promise<void>
  /** PostgreSQL's fast shutdown. */
  stop(): Promise<void>
  /** Ends every process of it at once, as a crash of the machine's memory killer does. */
  kill(): Promise<void>
  /** Stops every process of it where it is: connections stay open, and nothing answers. */
  freeze(): void
  thaw(): void
}

export interface OwnPostgresOptions {
  settings?: string[]
  /** Where another version's `initdb` and `postgres` are. */
  binaries?: string
  /** A data directory that is there already. */
  directory?: string
}

export async function startOwnPostgres(scope: Scope, options: OwnPostgresOptions = {}): Promise<OwnPostgres> {
  const base = mkdtempSync(join(tmpdir(), 'clerk-session-sync-own-'))
  chmodSync(base, 0o711) // As root, PostgreSQL runs as another user.
  const { directory = join(base, 'data'), ...others } = options
  let server: EmbeddedPostgres = await startEmbeddedPostgres({ directory, ...others })
  const port = Number(new URL(server.url).port)

  /** To the first process first, which then starts no others. */
  function signal(name: NodeJS.Signals): number[] {
    sendTo(server.pid, name)
    const family = familyOf(server.pid)
    for (const pid of family) sendTo(pid, name)
    return family
  }
  async function kill(): Promise<void> {
    // Once the first is gone nobody knows any more whose the others were.
    const family = signal('SIGSTOP')
    for (const pid of family) sendTo(pid, 'SIGKILL')
    while (family.some(isRunning)) await sleep(5)
  }
  scope.teardown(async () => {
    await kill()
    rmSync(base, { recursive: true, force: true })
  })
  return {
    url: server.url,
    directory: server.directory,
    async start() {
      for (let attempt = 1; ; attempt += 1) {
        try {
          server = await startEmbeddedPostgres({ directory, ...others, port })
          return
        } catch (error) {
          // The kernel takes a moment to let go of what the killed ones shared.
          if (attempt === 50 || !/shared memory/.test((error as Error).message)) throw error
          await sleep(100)
        }
      }
    },
    stop: () => server.stop(),
    kill,
    freeze: () => void signal('SIGSTOP'),
    thaw: () => void signal('SIGCONT'),
  }
}

function sendTo(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

/** The state and the parent of a process; undefined when it is gone. */
function statOf(pid: number | string): { state: string; parent: number } | undefined {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ')
    return { state: fields[0] as string, parent: Number(fields[1]) }
  } catch {
    return undefined
  }
}

// What has ended and was not waited for yet holds nothing any more.
const isRunning = (pid: number) => !['Z', undefined].includes(statOf(pid)?.state)

/** The process and its children: PostgreSQL's have none of their own. */
function familyOf(pid: number): number[] {
  if (!existsSync(`/proc/${pid}`)) return []
  const children = readdirSync('/proc').filter((entry) => /^\d+$/.test(entry) && statOf(entry)?.parent === pid)
  return [pid, ...children.map(Number)]
}
