import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Scope } from '../helpers/own-postgres.ts'
import { ROOT } from '../helpers/process.ts'
import { keepStream } from '../helpers/run-log.ts'
import { call } from './call.ts'

/** One process of the service, on a port that never changes. */
export interface Replica {
  name: string
  url: string
  /** Resolves when it answers. */
  start(): Promise<void>
  /** Sends a signal and resolves to the exit code, or the signal that ended it. */
  end(signal: NodeJS.Signals): Promise<number | NodeJS.Signals>
  /** Resident memory in MB. */
  memoryMb(): number
  /** Log lines of level error and above. */
  errors: string[]
}

const PROBE_INTERVAL_MS = 50
const HEALTHY_WITHIN_MS = 30_000
const ERROR_LINE = /^\{"level":[56]0/

export function createReplica(
  scope: Scope,
  service: string,
  name: string,
  port: number,
  env: Record<string, string>,
): Replica {
  let child: ChildProcess | undefined
  const url = `http://127.0.0.1:${port}`
  const errors: string[] = []
  scope.teardown(() => child?.kill('SIGKILL'))

  function spawnIt(): ChildProcess {
    const { PATH, HOME } = process.env
    const started = spawn(process.execPath, [service], {
      cwd: ROOT,
      env: { PATH, HOME, NODE_ENV: 'production', HOST: '127.0.0.1', PORT: String(port), LOG_LEVEL: 'warn', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    for (const stream of [started.stdout, started.stderr]) keepStream(stream)
    let rest = ''
    started.stdout?.setEncoding('utf8').on('data', (data: string) => {
      const lines = (rest + data).split('\n')
      rest = lines.pop() as string
      errors.push(...lines.filter((line) => ERROR_LINE.test(line)))
    })
    started.stderr?.setEncoding('utf8').on('data', (data: string) => errors.push(data))
    return started
  }

  return {
    name,
    url,
    errors,
    async start() {
      child = spawnIt()
      await untilHealthy({ name, url })
    },
    async end(signal) {
      const ending = child as ChildProcess
      const exit = once(ending, 'exit')
      ending.kill(signal)
      const [code, endedBy] = await exit
      return code ?? endedBy
    },
    memoryMb() {
      const status = readFileSync(`/proc/${child?.pid}/status`, 'utf8')
      return Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1]) / 1024
    },
  }
}

/** Resolves when its health is 200 again. Rejects after 30 s. */
export async function untilHealthy({ name, url }: Pick<Replica, 'name' | 'url'>): Promise<void> {
  const giveUpAt = performance.now() + HEALTHY_WITHIN_MS
  for (;;) {
    const { status, body } = await call({ url: `${url}/readyz`, timeoutMs: 5_000 })
    if (status === 200) return
    if (performance.now() > giveUpAt) throw new Error(`replica ${name} is not healthy after 30 s: ${status} ${body}`)
    await sleep(PROBE_INTERVAL_MS)
  }
}
