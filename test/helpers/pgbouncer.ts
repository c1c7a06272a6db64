import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Scope } from './own-postgres.ts'
import { freePorts } from './process.ts'

const PATH = `${process.env.PATH}:/usr/sbin:/usr/local/sbin`

export interface PgBouncerOptions {
  /** `transaction` by default. */
  mode?: 'session' | 'transaction'
  /** Further settings. */
  settings?: string[]
}

/** A PgBouncer of few connections in front of a database. Resolves to the database's URL by way of it. */
export async function startPgBouncer(
  t: Scope,
  databaseUrl: string,
  { mode = 'transaction', settings: more = [] }: PgBouncerOptions = {},
): Promise<string> {
  const { hostname, port, pathname, username, password } = new URL(databaseUrl)
  const directory = mkdtempSync(join(tmpdir(), 'pgbouncer-'))
  chmodSync(directory, 0o755) // As root, it runs as another user.
  t.teardown(() => rmSync(directory, { recursive: true }))
  const own = await freePorts()
  writeFileSync(join(directory, 'users.txt'), `"${username}" "${password}"\n`)
  // With as little set as possible: nothing is ignored for us.
  const settings = [
    '[databases]',
    `* = host=${hostname} port=${port}`,
    '[pgbouncer]',
    `listen_addr=127.0.0.1`,
    `listen_port=${own}`,
    'unix_socket_dir=',
    'auth_type=scram-sha-256',
    `auth_file=${directory}/users.txt`,
    `pool_mode=${mode}`,
    // Fewer than its clients have, so that these really share them.
    `default_pool_size=${mode === 'transaction' ? 3 : 20}`,
    ...more,
  ]
  writeFileSync(join(directory, 'pgbouncer.ini'), `${settings.join('\n')}\n`)
  const asNobody = process.getuid?.() === 0 ? ['-u', 'nobody'] : []
  const child = spawn('pgbouncer', [...asNobody, join(directory, 'pgbouncer.ini')], { env: { PATH } })
  let log = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (log += data))
  child.on('error', (error) => (log += error))
  t.teardown(async () => {
    if (!isAlive(child)) return
    child.kill('SIGKILL')
    await once(child, 'exit')
  })
  while (!(await listens(own))) {
    if (log.includes('ENOENT')) throw new Error('PgBouncer is not on this machine: apt-get install -y pgbouncer')
    if (!isAlive(child)) throw new Error(`pgbouncer ended: ${log}`)
    await sleep(20)
  }
  return `postgres://${username}:${password}@127.0.0.1:${own}${pathname}`
}

const isAlive = ({ pid, exitCode, signalCode }: ChildProcess) =>
  pid !== undefined && exitCode === null && signalCode === null

async function listens(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  const isOpen = await once(socket, 'connect').then(
    () => true,
    () => false,
  )
  socket.destroy()
  return isOpen
}
