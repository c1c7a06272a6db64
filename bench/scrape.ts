/** What a scrape of /metrics costs, under load and alone, as the users table grows. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { DEFAULT_SCHEMA } from '../src/db/schema-name.ts'
import { findTableStatistics } from '../src/db/table-statistics.ts'
import { spread } from './bench-user.ts'
import { flagsOf, settingsFor, start } from './contenders.ts'
import { drive, type LoadResult } from './driver.ts'
import type { Issuer } from './issuer.ts'
import { cpuMs, moveToOtherCore } from './machine.ts'
import { type Contender, findRefusals, quantile } from './measure.ts'
import { planMixed } from './mix.ts'
import type { Options } from './options.ts'
import type { World } from './paths.ts'
import { createWorld, type Progress } from './peers.ts'
import { type Database, type Postgres, startPostgres } from './postgres.ts'
import { getRequest } from './requests.ts'
import type { ProbedScrape } from './scrape-probe.ts'
import { signTokens } from './tokens.ts'

/** Of one number of users; times in ms. */
export interface ScrapeFigures {
  users: number
  connections: number
  /** Of the load, with scrapes and without. */
  perSecond: number
  scrapesUnderLoad: number
  /**
   * What a scrape takes of the server's CPU, by the probe; it holds the one thread for as long. `arithmetic` is the same of a
   * millisecond's worth of it.
   */
  underLoad: { cpuMean: number; cpuP50: number; cpuP95: number; cpuP99: number; arithmetic: Quantiles }
  /** The same of the scrapes that asked PostgreSQL, with nothing else under way; NaN where none did. */
  askingCpuP50: number
  /** By /proc, over scrapes back to back: with the parsing of the request and what is collected as garbage. */
  aloneCpu: number
  latency: { scrapeAlone: Quantiles; livezAlone: Quantiles; scrape: Quantiles; livez: Quantiles }
  /** PostgreSQL's own time for what a scrape asks it, planning included. */
  postgres: { p50: number; max: number }
  bytes: number
  faults: string[]
}

interface Quantiles {
  p50: number
  p95: number
  p99: number
}

const FIRST_GUESS_PER_CONNECTION = 600
const STATEMENT_RUNS = 50

/** Measures each number of users, in a process that is new each time. What it starts it ends. */
export async function runScrapes(options: Options, issuer: Issuer, progress: Progress): Promise<ScrapeFigures[]> {
  const tokens = Math.min(options.tokens, ...options.scrapeUsers)
  progress('signing tokens')
  const numbers = options.scrapeUsers.flatMap((users) => spread(tokens, users))
  const world = createWorld({ ...options, tokens }, await signTokens(issuer, numbers))
  moveToOtherCore()
  const figures: ScrapeFigures[] = []
  let postgres: Postgres | undefined
  try {
    postgres = await startPostgres()
    const database = await postgres.createDatabase('bench_scrape', 0, 0)
    for (const users of options.scrapeUsers) {
      progress(`growing to ${users} users`)
      await database.growTo(users, world.firstVersion)
      world.options = { ...world.options, users }
      for (const connections of options.connections) {
        progress(`scraping at ${users} users, ${connections} connections`)
        figures.push(await measureScrapes(world, issuer, database, connections))
      }
    }
    return figures
  } finally {
    await postgres?.stop()
  }
}

async function measureScrapes(world: World, issuer: Issuer, database: Database, connections: number) {
  const { options } = world
  const directory = mkdtempSync(join(tmpdir(), 'clerk-session-sync-scrape-'))
  const file = join(directory, 'scrapes.json')
  const settings = { ...settingsFor('service', issuer, database.url), SCRAPE_PROBE_FILE: file }
  const running = await start(options.service, settings, {
    flags: [...flagsOf(), '--import', './bench/scrape-probe.ts'],
  })
  const contender: Contender = { ...running, name: 'service', database, isService: true, position: 0 }
  try {
    // A service that has run for a day has long been compiled.
    await drive({ ...backToBack(running.port, options), request: () => getRequest('/metrics?warm') })
    const loaded: Loaded[] = []
    for (let round = 1; round <= options.rounds; round += 1) {
      loaded.push(await scrapeUnderLoad(world, contender, connections))
    }
    const postgres = await timeStatement(database)
    const alone = await scrapeAlone(contender, options)
    for (let n = 0; n < options.rounds; n += 1) {
      await sleep(options.scrapeFreshMs)
      await scrapeOnce(running.port, 'asking')
    }
    await running.stop()
    const probed: ProbedScrape[] = JSON.parse(readFileSync(file, 'utf8'))
    const pooled = (which: keyof Loaded) =>
      quantilesOf(loaded.flatMap((one) => [...(one[which] as LoadResult).latencies]))
    const cpuOf = (phase: string, hasWaited = false) =>
      ascending(probed.filter((one) => one.phase === phase && one.hasWaited === hasWaited).map(({ cpuMs }) => cpuMs))
    const cpu = cpuOf('loaded')
    return {
      users: options.users,
      connections,
      perSecond: quantile(ascending(loaded.map(({ load }) => load.answered / load.seconds)), 0.5),
      scrapesUnderLoad: cpu.length,
      underLoad: {
        cpuMean: cpu.reduce((sum, ms) => sum + ms, 0) / cpu.length,
        cpuP50: quantile(cpu, 0.5),
        cpuP95: quantile(cpu, 0.95),
        cpuP99: quantile(cpu, 0.99),
        arithmetic: quantilesOf([...cpuOf('arithmetic')]),
      },
      askingCpuP50: quantile(cpuOf('asking', true), 0.5),
      aloneCpu: alone.cpu,
      latency: { ...alone.latency, scrape: pooled('scrapes'), livez: pooled('livez') },
      postgres,
      bytes: alone.bytes,
      faults: [...alone.faults, ...loaded.flatMap(({ faults }) => faults)],
    }
  } finally {
    await running.stop()
    rmSync(directory, { recursive: true, force: true })
  }
}

interface Loaded {
  load: LoadResult
  scrapes: LoadResult
  livez: LoadResult
  faults: string[]
}

/** Half profiles and half webhooks as fast as they go, and beside them scrapes and probes, a few each second. */
async function scrapeUnderLoad(world: World, contender: Contender, connections: number): Promise<Loaded> {
  const { warmupSeconds, seconds, scrapeEveryMs } = world.options
  const { port } = contender
  await contender.database?.tidy()
  const plan = await planMixed(
    world,
    contender,
    Math.ceil(connections * FIRST_GUESS_PER_CONNECTION * (warmupSeconds + seconds)),
    connections,
  )
  const span = { port, warmupSeconds, seconds }
  const beside = { ...span, connections: 1, everyMs: scrapeEveryMs }
  let phase = 'warm'
  const onMark = () => {
    phase = 'loaded'
  }
  const [load, scrapes, livez] = await Promise.all([
    drive({ ...span, connections, request: plan.request }),
    drive({ ...beside, request: () => getRequest(`/metrics?${phase}`), onMark }),
    drive({ ...beside, request: () => getRequest('/livez') }),
  ])
  const faults = [load, scrapes, livez].flatMap(findRefusals)
  if (load.seconds < seconds * 0.9) faults.push('the load ran out of webhooks')
  return { load, scrapes, livez, faults: [...faults, ...(await plan.findFaults(load))] }
}

const backToBack = (port: number, { warmupSeconds, seconds }: Options) => ({
  port,
  connections: 1,
  warmupSeconds,
  seconds,
})

async function scrapeAlone({ port, pid }: Contender, options: Options) {
  const marks: number[] = []
  const onMark = () => marks.push(cpuMs(pid))
  const scrapes = await drive({ ...backToBack(port, options), request: () => getRequest('/metrics?alone'), onMark })
  const [before, after] = marks as [number, number]
  const livez = await drive({ ...backToBack(port, options), request: () => getRequest('/livez') })
  return {
    cpu: (after - before) / scrapes.answered,
    bytes: Buffer.byteLength(scrapes.samples[0]?.body ?? ''),
    latency: { scrapeAlone: quantilesOf([...scrapes.latencies]), livezAlone: quantilesOf([...livez.latencies]) },
    faults: [scrapes, livez].flatMap(findRefusals),
  }
}

async function scrapeOnce(port: number, phase: string): Promise<void> {
  await (await fetch(`http://127.0.0.1:${port}/metrics?${phase}`)).text()
}

/** The statement of a scrape, by itself, on the tables as the load has left them. */
async function timeStatement({ query }: Database): Promise<ScrapeFigures['postgres']> {
  let text = ''
  await findTableStatistics({
    schema: DEFAULT_SCHEMA,
    async query(config) {
      text = config.text
      return { rows: [] }
    },
  })
  const times: number[] = []
  for (let run = 0; run < STATEMENT_RUNS; run += 1) {
    const [row] = await query<{ 'QUERY PLAN': [Record<'Planning Time' | 'Execution Time', number>] }>(
      `explain (analyze, format json) ${text}`,
    )
    const [plan] = (row as NonNullable<typeof row>)['QUERY PLAN']
    times.push(plan['Planning Time'] + plan['Execution Time'])
  }
  return { p50: quantile(ascending(times), 0.5), max: quantile(ascending(times), 1) }
}

const ascending = (values: number[]) => Float64Array.from(values).sort()

function quantilesOf(values: number[]): Quantiles {
  const sorted = ascending(values)
  return { p50: quantile(sorted, 0.5), p95: quantile(sorted, 0.95), p99: quantile(sorted, 0.99) }
}
