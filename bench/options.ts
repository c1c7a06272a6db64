import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'

export const CONTENDERS = ['service', 'baseline', 'recipe', 'bare'] as const
export type ContenderName = (typeof CONTENDERS)[number]

export const PATHS = [
  'profile',
  'profile-cold',
  'sync-user',
  'sync-new',
  'webhook',
  'burst',
  'sync-api',
  'sync-api-50',
  'verify-member',
  'membership',
  'mix',
] as const
export type PathName = (typeof PATHS)[number]

/** Paths that only this service has. */
export const OWN_PATHS: readonly PathName[] = ['verify-member', 'membership']

/** How long the Backend API takes on the paths that ask it. */
export const API_DELAYS_MS: Partial<Record<PathName, number>> = { 'sync-api': 0, 'sync-api-50': 50 }
/** The service has no more lookups than this in flight, and answers further syncs from the claims. */
export const MAX_LOOKUPS = 50

export interface BackfillCase {
  users: number
  /** How long Clerk takes for each answer. */
  pageMs: number
  lanes: number
}

/** What to measure, and how hard. */
export interface Options {
  connections: number[]
  seconds: number
  warmupSeconds: number
  rounds: number
  users: number
  /** Users whose tokens are sent again and again, and, on the cold path, so many that no cache holds them. */
  tokens: number
  coldTokens: number
  burstEvents: number
  contenders: ContenderName[]
  paths: PathName[]
  /** Of `--open-loop`: the share of the most that is sent. */
  loadShare: number
  openLoopSeconds: number
  /** And the long run of a closed loop. */
  longConnections: number
  longSeconds: number
  /** Of `--start`: when the memory is read after the first answer. */
  restSeconds: number
  mode: 'peers' | 'open-loop' | 'start' | 'growth' | 'jwt' | 'backfill' | 'scrape' | 'changes'
  /** Of `--growth`, in this order. */
  growthUsers: number[]
  growthLedgerRows: number
  /** Of `--backfill`, in this order. */
  backfillCases: BackfillCase[]
  /** Of `--scrape`, in this order. */
  scrapeUsers: number[]
  /** Between one scrape and the next, under load. */
  scrapeEveryMs: number
  /** After so long a scrape asks PostgreSQL again. */
  scrapeFreshMs: number
  /** The entry of the service. */
  service: string
  /** A built checkout of another commit, measured beside the service as the contender `baseline`. */
  baseline?: string
  /** Where the service leaves its CPU profile when it ends. */
  cpuProfDirectory?: string
  isJson: boolean
}

const FULL = {
  connections: [1, 32, 128],
  seconds: 2,
  warmupSeconds: 1,
  rounds: 7,
  users: 100_000,
  tokens: 8_000,
  coldTokens: 50_000,
  burstEvents: 20_000,
  growthUsers: [1_000, 100_000, 2_000_000],
  growthLedgerRows: 1_000_000,
  backfillCases: [
    ...[0, 50, 200].flatMap((pageMs) => [1, 8].map((lanes) => ({ users: 100_000, pageMs, lanes }))),
    ...[0, 200].map((pageMs) => ({ users: 1_000_000, pageMs, lanes: 8 })),
  ],
  scrapeUsers: [1_000, 1_000_000],
  scrapeConnections: 32,
  scrapeEveryMs: 100,
  scrapeFreshMs: 5_100,
  loadShare: 0.7,
  openLoopSeconds: 20,
  longConnections: 1_000,
  longSeconds: 60,
  restSeconds: 3,
}
type Scale = typeof FULL
const QUICK: Scale = {
  connections: [8],
  seconds: 0.5,
  warmupSeconds: 0.2,
  rounds: 1,
  users: 1_000,
  tokens: 100,
  coldTokens: 300,
  burstEvents: 500,
  growthUsers: [500, 1_000],
  growthLedgerRows: 1_000,
  backfillCases: [
    { users: 1_000, pageMs: 0, lanes: 1 },
    { users: 2_000, pageMs: 5, lanes: 8 },
  ],
  scrapeUsers: [500, 1_000],
  scrapeConnections: 8,
  scrapeEveryMs: 20,
  scrapeFreshMs: 0,
  loadShare: 0.5,
  openLoopSeconds: 0.5,
  longConnections: 50,
  longSeconds: 0.5,
  restSeconds: 0.1,
}

export const USAGE = `node bench/index.ts [--quick] [--connections 1,32,128] [--seconds 2] [--rounds 7] [--users 100000] [--tokens 8000]
  [--contenders ${CONTENDERS.join()}] [--paths ${PATHS.join()}]
  [--mix] [--open-loop | --start | --growth | --jwt | --backfill | --scrape | --changes] [--service dist/server.js]
  [--growth-users 1000,100000,2000000] [--baseline directory of a built checkout] [--cpu-prof directory] [--json]`

/** Reads the command line. Throws a TypeError that names what is wrong. */
export function readOptions(args: string[]): Options {
  const text = { type: 'string' } as const
  const flag = { type: 'boolean', default: false } as const
  const { values } = parseArgs({
    args,
    options: {
      quick: flag,
      growth: flag,
      'open-loop': flag,
      'growth-users': text,
      start: flag,
      mix: flag,
      jwt: flag,
      backfill: flag,
      scrape: flag,
      changes: flag,
      json: flag,
      connections: text,
      seconds: text,
      rounds: text,
      users: text,
      tokens: text,
      contenders: text,
      paths: text,
      service: { ...text, default: 'dist/server.js' },
      baseline: text,
      'cpu-prof': text,
    },
  })
  const [mode = 'peers', another] = (
    ['open-loop', 'start', 'growth', 'jwt', 'backfill', 'scrape', 'changes'] as const
  ).filter((name) => values[name])
  if (another) throw new TypeError(`--${mode} and --${another} exclude each other`)
  const scale = values.quick ? QUICK : FULL
  const { scrapeConnections, ...rest } = scale
  const all = {
    connections: mode === 'scrape' ? [scrapeConnections] : scale.connections,
    contenders: CONTENDERS.filter((name) => name !== 'baseline'),
    paths: PATHS.filter((path) => path !== 'mix' && !OWN_PATHS.includes(path)),
  }
  const defaults = mode === 'growth' ? growthDefaults(scale) : mode === 'open-loop' ? openLoopDefaults(scale) : all
  const paths = choice('paths', PATHS, values.mix ? 'mix' : values.paths, defaults.paths)
  const asksApi = paths.find((path) => path in API_DELAYS_MS)
  if (['growth', 'open-loop'].includes(mode) && asksApi) throw new TypeError(`--${mode} does not measure ${asksApi}`)
  const users = number('users', values.users) ?? scale.users
  const baseline = values.baseline === undefined ? undefined : resolve(values.baseline)
  if (baseline !== undefined && !existsSync(join(baseline, 'dist/server.js')))
    throw new TypeError(`--baseline: ${baseline} has no dist/server.js: build that checkout first`)
  return {
    ...rest,
    connections: list(values.connections)?.map((item) => number('connections', item) as number) ?? defaults.connections,
    seconds: number('seconds', values.seconds) ?? scale.seconds,
    rounds: number('rounds', values.rounds) ?? scale.rounds,
    users,
    tokens: Math.min(number('tokens', values.tokens) ?? scale.tokens, users),
    coldTokens: Math.min(scale.coldTokens, users),
    contenders: withBaseline(
      choice('contenders', CONTENDERS, values.contenders, defaults.contenders),
      baseline !== undefined,
    ),
    paths,
    growthUsers:
      list(values['growth-users'])?.map((item) => number('growth-users', item) as number) ?? scale.growthUsers,
    mode,
    service: values.service,
    baseline,
    cpuProfDirectory: values['cpu-prof'],
    isJson: values.json,
  }
}

/** Growth is about what a request costs the service: at one number of connections, on the paths that repeat. */
function growthDefaults(scale: Scale) {
  const contenders: ContenderName[] = ['service']
  const paths: PathName[] = ['profile', 'sync-user', 'webhook']
  return { connections: [Math.max(...scale.connections)], contenders, paths }
}

/** What the service does under load, at the most connections; the most is the median of a few short runs. */
function openLoopDefaults(scale: Scale) {
  const contenders: ContenderName[] = ['service']
  const paths: PathName[] = ['profile', 'profile-cold', 'sync-user', 'sync-new', 'webhook', 'mix']
  return { connections: [Math.max(...scale.connections)], contenders, paths }
}

function withBaseline(contenders: ContenderName[], hasBaseline: boolean): ContenderName[] {
  if (!hasBaseline && contenders.includes('baseline')) throw new TypeError('the contender baseline needs --baseline')
  return CONTENDERS.filter((name) => contenders.includes(name) || (hasBaseline && name === 'baseline'))
}

const list = (value: string | undefined) => value?.split(',').map((item) => item.trim())

function number(name: string, value: string | undefined): number | undefined {
  if (value === undefined) return undefined
  if (!(Number(value) > 0)) throw new TypeError(`--${name}: ${value} is no number above 0`)
  return Number(value)
}

function choice<T extends string>(
  name: string,
  known: readonly T[],
  value: string | undefined,
  initial: readonly T[],
): T[] {
  const chosen = list(value) ?? initial
  const unknown = chosen.find((item) => !known.includes(item as T))
  if (unknown !== undefined) throw new TypeError(`--${name}: ${unknown} is none of ${known.join(', ')}`)
  return known.filter((item) => (chosen as readonly string[]).includes(item))
}
