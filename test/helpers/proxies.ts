/** Real proxies on the configuration files of examples/, with other addresses. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import { startNginx } from './nginx.ts'
import { freePorts, ROOT } from './process.ts'

/** Where a proxy finds the others: `host:port` each. */
export interface Addresses {
  service: string
  application: string
  /** Goes behind the address of verify. */
  conditions?: string
}

export type StartProxy = (t: Test, addresses: Addresses) => Promise<string>

const read = (path: string) => readFileSync(join(ROOT, 'examples', path), 'utf8')

/** Replaces what must be there once, so that an example that has changed is noticed. */
function replaceOnce(text: string, pairs: [documented: string, real: string][]): string {
  return pairs.reduce((result, [documented, real]) => {
    const pieces = result.split(documented)
    if (pieces.length !== 2) throw new Error(`the example should have "${documented}" once`)
    return pieces.join(real)
  }, text)
}

const nginx: StartProxy = async (t, { service, application, conditions = '' }) =>
  startNginx(t, (port) =>
    replaceOnce(read('nginx/auth-request.conf'), [
      ['server 127.0.0.1:3000;', `server ${service};`],
      ['server 127.0.0.1:8080;', `server ${application};`],
      ['listen 127.0.0.1:80;', `listen 127.0.0.1:${port};`],
      ['clerk_session_sync/api/auth/verify;', `clerk_session_sync/api/auth/verify${conditions && `?${conditions}`};`],
    ]),
  )

const caddy: StartProxy = async (t, { service, application, conditions = '' }) => {
  const directory = temporaryDirectory(t)
  const port = await freePorts()
  const file = join(directory, 'Caddyfile')
  const example = replaceOnce(read('caddy/Caddyfile'), [
    ['http://127.0.0.1:80 {', `http://127.0.0.1:${port} {`],
    ['forward_auth 127.0.0.1:3000', `forward_auth ${service}`],
    ['reverse_proxy 127.0.0.1:8080', `reverse_proxy ${application}`],
    ['uri /api/auth/verify?\n', `uri /api/auth/verify?${conditions}\n`],
  ])
  writeFileSync(file, `{\n\tadmin off\n\tauto_https off\n}\n${example}`)
  return start(t, 'caddy', ['run', '--adapter', 'caddyfile', '--config', file], port, { HOME: directory })
}

const haproxy: StartProxy = async (t, { service, application, conditions = '' }) => {
  const directory = temporaryDirectory(t)
  const port = await freePorts()
  const file = join(directory, 'haproxy.cfg')
  cpSync(join(ROOT, 'examples/haproxy/auth-request.lua'), join(directory, 'auth-request.lua'))
  writeFileSync(
    file,
    replaceOnce(read('haproxy/haproxy.cfg'), [
      ['bind 127.0.0.1:80\n', `bind 127.0.0.1:${port}\n`],
      [
        'str(http://127.0.0.1:3000/api/auth/verify)',
        `str(http://${service}/api/auth/verify${conditions && `?${conditions}`})`,
      ],
      ['server application 127.0.0.1:8080', `server application ${application}`],
    ]),
  )
  return start(t, 'haproxy', ['-db', '-C', directory, '-f', file], port)
}

/** By the name of their folder below examples/. */
export const PROXIES: Record<string, StartProxy> = { nginx, caddy, haproxy }

function temporaryDirectory(t: Test): string {
  const directory = mkdtempSync(join(tmpdir(), 'proxy-'))
  t.teardown(() => rmSync(directory, { recursive: true }))
  return directory
}

/** Starts a server and resolves with its URL once it accepts connections; it ends with the test. */
export async function start(
  t: Test,
  command: string,
  args: string[],
  port: number,
  { cwd, ...env }: Record<string, string> = {},
): Promise<string> {
  const child = spawn(command, args, {
    cwd,
    env: { ...env, PATH: `${process.env.PATH}:/usr/sbin:/usr/local/sbin` },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk))
  let isOver = false
  const over = Promise.race([once(child, 'exit'), once(child, 'error')]).then(([reason]) => {
    isOver = true
    output += `\nended: ${reason}`
  })
  t.teardown(async () => {
    if (!isOver) child.kill('SIGKILL')
    await over
  })
  const url = `http://127.0.0.1:${port}`
  while (!isOver) {
    const isUp = await fetch(url, { method: 'HEAD' }).then(
      () => true,
      () => false,
    )
    if (isUp) return url
    await sleep(50)
  }
  throw new Error(`${command} did not start (see .ci/run for what the tests need):\n${output}`)
}
