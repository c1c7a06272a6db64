/**
 * Latency under a load that does not wait: the most of each path is measured in a closed loop, then a share of it is sent at a
 * constant rate. Beside it a long closed loop on many connections.
 */
import { spread } from './bench-user.ts'
import type { Issuer } from './issuer.ts'
import { moveToOtherCore } from './machine.ts'
import { type Contender, type Measurement, measure } from './measure.ts'
import type { Options, PathName } from './options.ts'
import type { World } from './paths.ts'
import { createDatabaseFor, createWorld, type Progress, startContender } from './peers.ts'
import { startPostgres } from './postgres.ts'
import { decimal, short, table } from './table.ts'
import { signTokens } from './tokens.ts'

export interface LoadFigure extends Measurement {
  load: 'most' | 'open loop' | 'long'
}

/** Measures every path of every contender. What it starts it ends. */
export async function runOpenLoop(options: Options, issuer: Issuer, progress: Progress): Promise<LoadFigure[]> {
  progress('signing tokens')
  const numbers = [...spread(options.tokens, options.users), ...spread(options.coldTokens, options.users)]
  const world = createWorld(options, await signTokens(issuer, numbers))
  moveToOtherCore()
  const cleanups: (() => Promise<unknown>)[] = []
  try {
    const postgres = await startPostgres()
    cleanups.push(() => postgres.stop())
    const figures: LoadFigure[] = []
    for (const name of options.contenders) {
      progress(`preloading ${options.users} users for ${name}`)
      const database = await createDatabaseFor(name, options, postgres, options.users, world.firstVersion)
      const contender = await startContender(name, options, issuer, database)
      cleanups.push(() => contender.stop())
      for (const path of options.paths) figures.push(...(await measurePath(world, contender, path, options, progress)))
    }
    return figures
  } finally {
    for (const cleanUp of cleanups.reverse()) await cleanUp()
  }
}

async function measurePath(
  world: World,
  contender: Contender,
  path: PathName,
  options: Options,
  progress: Progress,
): Promise<LoadFigure[]> {
  const { connections, rounds, loadShare, openLoopSeconds, longConnections, longSeconds } = options
  const most = Math.max(...connections)
  world.options = options
  const runs: Measurement[] = []
  for (let round = 1; round <= rounds; round += 1) {
    runs.push(await measure(world, contender, path, most, runs.at(-1)?.perSecond))
    progress(`${contender.name} ${path} ${most}: ${runs.at(-1)?.perSecond.toFixed(0)}/s`)
  }
  const closed = runs.toSorted((a, b) => a.perSecond - b.perSecond)[rounds >> 1] as Measurement
  const rate = closed.perSecond * loadShare
  // A path whose tokens come once ends with them: with all of them it lasts longest.
  const tokens = path === 'sync-new' ? options.coldTokens : options.tokens
  world.options = { ...options, tokens, seconds: openLoopSeconds }
  const open = await measure(world, contender, path, most, closed.perSecond, rate)
  progress(`${contender.name} ${path} at ${rate.toFixed(0)}/s: p99 ${open.p99Ms.toFixed(1)} ms`)
  world.options = { ...options, tokens, seconds: longSeconds }
  const long = await measure(world, contender, path, longConnections, closed.perSecond)
  progress(`${contender.name} ${path} ${longConnections}: ${long.perSecond.toFixed(0)}/s`)
  return [
    { ...closed, load: 'most' },
    { ...open, load: 'open loop' },
    { ...long, load: 'long' },
  ]
}

/** A row a path and load; those of a mix also by kind. */
export function reportLoads(figures: LoadFigure[], { longSeconds, loadShare }: Options): string {
  const label = ({ load, connections }: LoadFigure) =>
    ({
      most: `closed loop, ${decimal(connections)} connections`,
      'open loop': `open loop at ${decimal(loadShare * 100)} % of that`,
      long: `closed loop, ${decimal(connections)} connections, ${decimal(longSeconds)} s`,
    })[load]
  const rows = figures.flatMap((figure) => {
    const { contender, path, perSecond, p50Ms, p99Ms, p999Ms, serverCpuUs, postgresCpuUs, rssMb, faults } = figure
    const name = contender === 'service' ? path : `${contender}, ${path}`
    const whole = [
      name,
      label(figure),
      faults.length > 0 ? 'VOID' : decimal(perSecond),
      ...[p50Ms, p99Ms, p999Ms, serverCpuUs, postgresCpuUs].map(short),
      decimal(rssMb),
    ]
    const byKind = Object.entries(figure.byKind ?? {}).map(([kind, latencies]) => [
      `${name}: ${kind}`,
      label(figure),
      '',
      ...latencies.map(short),
      '',
      '',
      '',
    ])
    return [whole, ...byKind]
  })
  const head = ['path', 'load', 'req/s', 'p50 ms', 'p99 ms', 'p99.9 ms', 'CPU µs', 'PostgreSQL µs', 'RSS MB']
  return table(head, rows)
}
