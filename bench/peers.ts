/** The contenders side by side: in alternation, round by round. */
import { join } from 'node:path'
import { spread } from './bench-user.ts'
import { flagsOf, migrateBy, settingsFor, start, WEBHOOK_SECRET } from './contenders.ts'
import type { Issuer } from './issuer.ts'
import { moveToOtherCore } from './machine.ts'
import { type Contender, type Measurement, measure } from './measure.ts'
import type { ContenderName, Options, PathName } from './options.ts'
import type { World } from './paths.ts'
import { type Database, type Postgres, startPostgres } from './postgres.ts'
import { signTokens } from './tokens.ts'
import { createEventFactory } from './webhooks.ts'

export type Progress = (text: string) => void

interface Launch {
  file: string
  flags?: string[]
  cpuProfDirectory?: string
}

const launches: Record<ContenderName, (options: Options) => Launch> = {
  service: ({ service, cpuProfDirectory }) => ({ file: service, flags: flagsOf(), cpuProfDirectory }),
  baseline: ({ baseline = '' }) => ({ file: join(baseline, 'dist/server.js'), flags: flagsOf(baseline) }),
  recipe: () => ({ file: 'bench/peers/recipe.ts' }),
  bare: () => ({ file: 'bench/peers/bare.ts' }),
}

/** A database of the contender's own; undefined for a contender that needs none. */
export async function createDatabaseFor(
  name: ContenderName,
  { baseline }: Options,
  postgres: Postgres,
  users: number,
  versionMs: number,
): Promise<Database | undefined> {
  if (name === 'bare') return undefined
  const createTables =
    name === 'baseline' && baseline !== undefined ? (url: string) => migrateBy(baseline, url) : undefined
  return await postgres.createDatabase(`bench_${name}`, users, versionMs, createTables)
}

/** Beyond every number of users that is measured. */
const FIRST_NEW_USER = 100_000_000

export function createWorld(options: Options, tokens: Map<number, string>): World {
  return {
    options,
    tokens,
    makeEvent: createEventFactory('/clerk', WEBHOOK_SECRET),
    nextSequence: 1,
    nextUser: FIRST_NEW_USER,
    firstVersion: Date.now(),
  }
}

export async function startContender(
  name: ContenderName,
  options: Options,
  issuer: Issuer,
  database?: Database,
): Promise<Contender> {
  const settings = settingsFor(name, issuer, database?.url)
  const { file, ...launch } = launches[name](options)
  const running = await start(file, settings, launch)
  return { ...running, name, database, isService: name === 'service' || name === 'baseline', position: 0 }
}

/** Measures everything once a round. What it starts it ends. */
export async function runPeers(options: Options, issuer: Issuer, progress: Progress): Promise<Measurement[]> {
  progress('signing tokens')
  const numbers = [...spread(options.tokens, options.users), ...spread(options.coldTokens, options.users)]
  const world = createWorld(options, await signTokens(issuer, numbers))
  moveToOtherCore()
  const contenders: Contender[] = []
  let postgres: Postgres | undefined
  try {
    postgres = await startPostgres()
    for (const name of options.contenders) {
      progress(`preloading ${options.users} users for ${name}`)
      const database = await createDatabaseFor(name, options, postgres, options.users, world.firstVersion)
      contenders.push(await startContender(name, options, issuer, database))
    }
    return await runRounds(world, contenders, progress)
  } finally {
    await Promise.all(contenders.map((contender) => contender.stop()))
    await postgres?.stop()
  }
}

/** One after the other in each round, and another one first. */
export async function runRounds(world: World, contenders: Contender[], progress: Progress): Promise<Measurement[]> {
  const { options } = world
  const known = new Map<string, number>()
  const measurements: Measurement[] = []
  for (const { path, connections } of runsOf(options)) {
    for (let round = 1; round <= options.rounds; round += 1) {
      for (const index of contenders.keys()) {
        const contender = contenders[(index + round) % contenders.length] as Contender
        const key = `${contender.name} ${path} ${connections}`
        const measurement = await measure(world, contender, path, connections, known.get(key))
        known.set(key, measurement.perSecond)
        measurements.push(measurement)
        const figure = measurement.faults[0]
          ? `VOID: ${measurement.faults[0]}`
          : `${measurement.perSecond.toFixed(0)}/s`
        progress(`round ${round} ${key}: ${figure} ${contender.output()}`)
      }
    }
  }
  return measurements
}

function runsOf(options: Options): { path: PathName; connections: number }[] {
  const most = Math.max(...options.connections)
  return options.paths.flatMap((path) =>
    (path === 'burst' ? [most] : options.connections).map((connections) => ({ path, connections })),
  )
}
