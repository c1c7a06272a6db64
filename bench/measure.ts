/** One run: one contender, one path, one number of connections. */
import type { Running } from './contenders.ts'
import { drive, type LoadResult } from './driver.ts'
import { cpuMs, memoryMb } from './machine.ts'
import { plannerOf } from './mix.ts'
import type { ContenderName, Options, PathName } from './options.ts'
import type { Plan, Target, World } from './paths.ts'
import type { Counters } from './postgres.ts'

export interface Contender extends Target, Running {
  name: ContenderName
}

/** The figures of a run. Those of a run with faults are void. */
export interface Measurement {
  contender: ContenderName
  path: PathName
  connections: number
  perSecond: number
  p50Ms: number
  p99Ms: number
  p999Ms: number
  /** Of a path that mixes several: p50, p99 and p99.9 by kind. */
  byKind?: Record<string, [number, number, number]>
  /** CPU time a request of the server process and of all of PostgreSQL. */
  serverCpuUs: number
  postgresCpuUs: number
  commitsPerRequest: number
  walBytesPerRequest: number
  rssMb: number
  peakMb: number
  faults: string[]
}

// So many events are made for a run of webhooks when nothing is known yet.
const FIRST_GUESS_PER_CONNECTION = 4_000
const FIRST_GUESS_AT_MOST = 30_000
const HEADROOM = 1.3
const MORE = 4
// Backends report their commits once a second: over less time the difference says nothing.
const COMMITS_TAKE_SECONDS = 1.5

/**
 * @param knownPerSecond of an earlier run, so that there are events enough
 * @param rate of an open loop; a closed loop without it
 */
export async function measure(
  world: World,
  contender: Contender,
  path: PathName,
  connections: number,
  knownPerSecond?: number,
  rate?: number,
): Promise<Measurement> {
  const { options } = world
  const expectedRate = rate ?? knownPerSecond ?? Math.min(connections * FIRST_GUESS_PER_CONNECTION, FIRST_GUESS_AT_MOST)
  await contender.database?.tidy()
  const plan = await plannerOf(path)(
    world,
    contender,
    Math.ceil(expectedRate * HEADROOM * (options.warmupSeconds + options.seconds)),
    connections,
  )
  const { result, before, after } = await driveWithCounters(plan, contender, connections, options, rate)
  // Much faster than before: the requests were used up before the clock started.
  if (!before || !after) return await measure(world, contender, path, connections, expectedRate * MORE, rate)
  const memory = memoryMb(contender.pid)
  const perRequest = (difference: number) => difference / result.answered
  return {
    contender: contender.name,
    path,
    connections,
    perSecond: result.answered / result.seconds,
    p50Ms: quantile(result.latencies, 0.5),
    p99Ms: quantile(result.latencies, 0.99),
    p999Ms: quantile(result.latencies, 0.999),
    ...(plan.kindOf && { byKind: quantilesByKind(result) }),
    serverCpuUs: perRequest(after.serverMs - before.serverMs) * 1000,
    postgresCpuUs: perRequest(after.cpuMs - before.cpuMs) * 1000,
    commitsPerRequest: result.seconds < COMMITS_TAKE_SECONDS ? Number.NaN : perRequest(after.commits - before.commits),
    walBytesPerRequest: perRequest(after.walBytes - before.walBytes),
    rssMb: memory.rss,
    peakMb: memory.peak,
    faults: [...findRefusals(result), ...(await plan.findFaults(result))],
  }
}

type Snapshot = Counters & { serverMs: number }

async function driveWithCounters(
  plan: Plan,
  contender: Contender,
  connections: number,
  options: Options,
  rate?: number,
) {
  const { port, pid, database } = contender
  // A path that has an end is timed to its end.
  const hasEnd = plan.warmup !== undefined
  if (plan.warmup) {
    await drive({ port, connections, request: plan.warmup, warmupSeconds: 0, seconds: Infinity })
  }
  const snapshots: Promise<Snapshot>[] = []
  const result = await drive({
    port,
    connections,
    request: plan.request,
    kindOf: plan.kindOf,
    rate,
    warmupSeconds: hasEnd ? 0 : options.warmupSeconds,
    seconds: hasEnd ? Infinity : options.seconds,
    onMark() {
      const serverMs = cpuMs(pid)
      snapshots.push(
        (database?.counters() ?? Promise.resolve(NO_COUNTERS)).then((counters) => ({ ...counters, serverMs })),
      )
    },
  })
  const [before, after] = await Promise.all(snapshots)
  return { result, before, after }
}

function quantilesByKind({ latenciesByKind }: LoadResult): Measurement['byKind'] {
  const three = (values: Float64Array): [number, number, number] => [
    quantile(values, 0.5),
    quantile(values, 0.99),
    quantile(values, 0.999),
  ]
  return Object.fromEntries([...latenciesByKind].map(([kind, values]) => [kind, three(values)]))
}

const NO_COUNTERS: Counters = { cpuMs: Number.NaN, commits: Number.NaN, walBytes: Number.NaN }

export function findRefusals({ refusals, answered }: LoadResult): string[] {
  const faults = [...refusals].map(([status, { count, body }]) => `${count} answers were ${status}: ${body}`)
  return answered === 0 ? [...faults, 'nothing was answered'] : faults
}

export function quantile(ascending: Float64Array, q: number): number {
  return ascending[Math.min(ascending.length - 1, Math.floor(ascending.length * q))] ?? Number.NaN
}
