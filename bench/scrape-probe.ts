/**
 * Loaded into the service by `--import`: what each scrape takes of the process between the parsed request and the end of its
 * answer, written to SCRAPE_PROBE_FILE at the exit. The event loop does not turn in between unless the scrape waits for
 * PostgreSQL: so what is measured is the scrape's own, also under load, and all other requests wait for so long. After each
 * under load comes a millisecond of arithmetic: what the machine adds to that, it adds to a scrape.
 */
import { subscribe } from 'node:diagnostics_channel'
import { writeFileSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'

export interface ProbedScrape {
  /** As the scrape's address names it: `/metrics?<phase>`. */
  phase: string
  /** The event loop turned: other work may be in the figures. */
  hasWaited: boolean
  /** Of the whole process, the garbage collector's threads included. */
  cpuMs: number
}

const scrapes: ProbedScrape[] = []

function begin() {
  const cpuBefore = process.cpuUsage()
  return (phase: string, hasWaited: boolean) => {
    const { user, system } = process.cpuUsage(cpuBefore)
    scrapes.push({ phase, hasWaited, cpuMs: (user + system) / 1000 })
  }
}

function calculate(rounds: number): number {
  let value = rounds
  for (let round = 0; round < rounds; round += 1) value = Math.imul(value ^ (value >>> 15), 0x2c1b3c6d)
  return value
}

/** How many take a millisecond, once compiled. */
function calibrate(): number {
  const times = Array.from({ length: 20 }, () => {
    const startedAt = performance.now()
    calculate(1_000_000)
    return performance.now() - startedAt
  })
  return Math.round(1_000_000 / Math.min(...times))
}
const ROUNDS = calibrate()

subscribe('http.server.request.start', (message) => {
  const { request, response } = message as { request: IncomingMessage; response: ServerResponse }
  const [path, phase = ''] = (request.url ?? '').split('?')
  if (path !== '/metrics') return
  const record = begin()
  let hasWaited = false
  setImmediate(() => {
    hasWaited = true
  })
  const end = response.end
  response.end = function endProbed(...args: unknown[]) {
    const ended = end.apply(response, args as Parameters<typeof end>)
    record(phase, hasWaited)
    // Elsewhere the CPU of the whole process is measured.
    if (phase !== 'loaded') return ended
    setImmediate(() => {
      const recordArithmetic = begin()
      calculate(ROUNDS)
      recordArithmetic('arithmetic', false)
    })
    return ended
  } as typeof end
})

process.once('exit', () => writeFileSync(process.env.SCRAPE_PROBE_FILE as string, JSON.stringify(scrapes)))
