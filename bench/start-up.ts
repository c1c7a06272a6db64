/**
 * Start-up: from the spawn of `dist/server.js` on a migrated database to the first 200 of `/readyz`, and memory at rest, beside
 * bare Fastify with three routes. In pairs, medians: `npm run build && node bench/start-up.ts [pairs]`.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { SERVICE_FLAGS, settingsFor } from './contenders.ts'
import { startIssuer } from './issuer.ts'
import { cpuMs, describeMachine, memoryMb } from './machine.ts'
import { startPostgres } from './postgres.ts'
import { decimal, table } from './table.ts'

const REST_MS = 1_000
const PAIRS = Number(process.argv[2] ?? 9)

interface Started {
  ms: number
  cpuMs: number
  rssMb: number
}

async function startOnce(args: string[], path: string, settings: Record<string, string>): Promise<Started> {
  const port = await findFreePort()
  const env = { PATH: process.env.PATH, NODE_ENV: 'production', LOG_LEVEL: 'warn', HOST: '127.0.0.1', ...settings }
  const startedAt = performance.now()
  const child = spawn(process.execPath, args, {
    env: { ...env, PORT: String(port) },
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  const exit = once(child, 'exit')
  try {
    while ((await statusOf(port, path)) !== 200) {
      if (child.exitCode !== null) throw new Error(`${args.at(-1)} ended with ${child.exitCode}`)
      await sleep(2)
    }
    const ms = performance.now() - startedAt
    const cpu = cpuMs(child.pid as number)
    await sleep(REST_MS)
    return { ms, cpuMs: cpu, rssMb: memoryMb(child.pid as number).rss }
  } finally {
    child.kill('SIGKILL')
    await exit
  }
}

const statusOf = (port: number, path: string) =>
  fetch(`http://127.0.0.1:${port}${path}`, { headers: { connection: 'close' } }).then(
    ({ status }) => status,
    () => 0,
  )

async function findFreePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}

const median = (values: number[]) => values.toSorted((a, b) => a - b)[values.length >> 1] as number

const issuer = await startIssuer()
const postgres = await startPostgres()
try {
  const { url } = await postgres.createDatabase('start_up', 1_000, Date.now())
  const settings = { ...settingsFor('service', issuer, url), CATCH_UP_INTERVAL_SECONDS: '0' }
  const contenders = {
    service: () => startOnce([...SERVICE_FLAGS, 'dist/server.js'], '/readyz', settings),
    bare: () => startOnce(['bench/peers/bare.ts'], '/api/auth/profile', {}),
  }
  const starts: Record<keyof typeof contenders, Started[]> = { service: [], bare: [] }
  for (let pair = 0; pair < PAIRS; pair += 1) {
    starts.bare.push(await contenders.bare())
    starts.service.push(await contenders.service())
  }
  const rows = (['service', 'bare'] as const).map((name) => {
    const of = (key: keyof Started) => decimal(median(starts[name].map((started) => started[key])))
    return [name, of('ms'), of('cpuMs'), of('rssMb')]
  })
  const ratio = median(starts.service.map(({ ms }, i) => ms / (starts.bare[i] as Started).ms))
  const cpu = median(starts.service.map(({ cpuMs }, i) => cpuMs / (starts.bare[i] as Started).cpuMs))
  console.log(`${describeMachine()}\n\n${table(['', 'ms to the first 200', 'CPU ms', 'RSS MB at rest'], rows)}`)
  console.log(`\nservice ÷ bare, median of ${PAIRS} pairs: ${decimal(ratio, 2)} by time, ${decimal(cpu, 2)} by CPU`)
} finally {
  await postgres.stop()
  issuer.close()
}
