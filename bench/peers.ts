/** The contenders side by side: in alternation, round by round. */
import { join } from 'node:path'
import { startApis } from './api.ts'
import { spread } from './bench-user.ts'
import { flagsOf, migrateBy, settingsFor, start, WEBHOOK_SECRET } from './contenders.ts'
import type { Issuer } from './issuer.ts'
import { moveToOtherCore } from './machine.ts'
import { type Contender, type Measurement, measure } from './measure.ts'
import { API_DELAYS_MS, type ContenderName, MAX_LOOKUPS, type Options, OWN_PATHS, type PathName } from './options.ts'
import type { World } from './paths.ts'
import { type Database, type Postgres, startPostgres } from './postgres.ts'
import { signTokens } from './tokens.ts'
import { createEventFactory, createSigner } from './webhooks.ts'

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
  const sign = createSigner('/clerk', WEBHOOK_SECRET)
  return {
    options,
    tokens,
    sign,
    makeEvent: createEventFactory(sign),
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
  apiUrl?: string,
): Promise<Contender> {
  const settings = settingsFor(name, issuer, database?.url, apiUrl)
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
  const cleanups: (() => Promise<unknown>)[] = []
  try {
    const postgres = await startPostgres()
    cleanups.push(() => postgres.stop())
    const databases = new Map<ContenderName, Database | undefined>()
    for (const name of options.contenders) {
      progress(`preloading ${options.users} users for ${name}`)
      databases.set(name, await createDatabaseFor(name, options, postgres, options.users, world.firstVersion))
    }
    const apis = await startApis(issuer, world.firstVersion, Object.values(API_DELAYS_MS))
    cleanups.push(() => apis.stop())
    const measurements: Measurement[] = []
    // What the API is, a process knows from its start: those paths have processes of their own.
    for (const paths of groupBySettings(options.paths)) {
      const apiUrl = apis.urls.get(API_DELAYS_MS[paths[0] as PathName] ?? Number.NaN)
      const isOwn = OWN_PATHS.includes(paths[0] as PathName)
      const names = options.contenders.filter((name) =>
        isOwn ? name === 'service' || name === 'baseline' : apiUrl === undefined || name !== 'bare',
      )
      world.options = { ...options, paths }
      measurements.push(...(await measureGroup(world, names, databases, issuer, apiUrl, progress)))
    }
    return measurements
  } finally {
    for (const cleanUp of cleanups.reverse()) await cleanUp()
  }
}

function groupBySettings(paths: PathName[]): PathName[][] {
  const isPlain = (path: PathName) => !(path in API_DELAYS_MS || OWN_PATHS.includes(path))
  const plain = paths.filter(isPlain)
  const others = paths.filter((path) => !isPlain(path)).map((path) => [path])
  return plain.length > 0 ? [plain, ...others] : others
}

async function measureGroup(
  world: World,
  names: ContenderName[],
  databases: Map<ContenderName, Database | undefined>,
  issuer: Issuer,
  apiUrl: string | undefined,
  progress: Progress,
): Promise<Measurement[]> {
  const contenders: Contender[] = []
  try {
    for (const name of names) {
      contenders.push(await startContender(name, world.options, issuer, databases.get(name), apiUrl))
    }
    return await runRounds(world, contenders, progress)
  } finally {
    await Promise.all(contenders.map((contender) => contender.stop()))
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

function runsOf({ connections, paths }: Options): { path: PathName; connections: number }[] {
  const most = Math.max(...connections)
  return paths.flatMap((path) => connectionsOf(path).map((connections) => ({ path, connections })))

  function connectionsOf(path: PathName): number[] {
    if (path === 'burst') return [most]
    return path in API_DELAYS_MS ? connections.filter((count) => count <= MAX_LOOKUPS) : connections
  }
}
