import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { type AddressInfo, connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'

/** Where distributions keep it, out of a user's PATH. */
const PATH = `${process.env.PATH}:/usr/sbin:/usr/local/sbin:/opt/homebrew/bin`
const TEMPORARY = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']

/** Starts nginx with what is to stand in `http { … }`, once for a port of its own. Resolves with its URL when it listens. */
export async function startNginx(t: Test, httpBlock: (port: number) => string): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'nginx-'))
  t.teardown(() => rm(directory, { recursive: true }))
  const file = join(directory, 'nginx.conf')
  // Somebody may take the port before nginx does.
  for (let attempt = 1; ; attempt += 1) {
    const port = await freePort()
    const temporary = TEMPORARY.map((name) => `${name}_temp_path ${directory}/${name};`).join('\n')
    const http = `access_log off;\n${temporary}\n${httpBlock(port)}`
    await writeFile(file, `pid ${directory}/pid;\nmaster_process off;\nevents {}\nhttp {\n${http}\n}\n`)
    const nginx = spawn('nginx', ['-p', directory, '-c', file, '-e', 'stderr', '-g', 'daemon off;'], { env: { PATH } })
    t.teardown(() => stop(nginx))
    let log = ''
    nginx.stderr.on('data', (chunk) => {
      log += chunk
    })
    nginx.on('error', (error) => {
      log += error
    })
    if (await listens(nginx, port)) return `http://127.0.0.1:${port}`
    if (log.includes('ENOENT')) throw new Error('nginx is not on this machine: apt-get install -y nginx-light')
    if (attempt === 3 || !log.includes('Address already in use')) throw new Error(`nginx ended: ${log}`)
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

/** Whether it came to listen; false when it ended instead. */
async function listens(nginx: ChildProcess, port: number): Promise<boolean> {
  while (isAlive(nginx)) {
    const socket = connect(port, '127.0.0.1')
    const isOpen = await once(socket, 'connect').then(
      () => true,
      () => false,
    )
    socket.destroy()
    if (isOpen) return true
    await sleep(20)
  }
  return false
}

const isAlive = ({ pid, exitCode, signalCode }: ChildProcess) =>
  pid !== undefined && exitCode === null && signalCode === null

async function stop(nginx: ChildProcess): Promise<void> {
  if (!isAlive(nginx)) return
  nginx.kill('SIGTERM')
  await once(nginx, 'exit')
}
