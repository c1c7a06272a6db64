/** What `node bench/index.ts` prints of the contenders. */
import type { Measurement } from './measure.ts'
import type { PathName } from './options.ts'
import { findSummary, type Summary } from './summary.ts'
import { BAR_HEAD, decimal, short, table, toBarRow } from './table.ts'

const HEAD = [
  'contender',
  'req/s',
  '±',
  '× recipe',
  'by CPU',
  '× bare',
  'p50 ms',
  'p99 ms',
  'p99.9 ms',
  'CPU µs',
  'PostgreSQL µs',
  'commits',
  'WAL B',
  'RSS MB',
]

/** A table a path and number of connections. CPU, commits and WAL are a request's. */
export function report(summaries: Summary[]): string {
  const groups = Map.groupBy(summaries, titleOf)
  return [...groups].map(([title, group]) => `### ${title}\n\n${table(HEAD, group.map(toRow))}`).join('\n\n')
}

function titleOf({ path, connections }: Measurement): string {
  return `${path}, ${connections} connection${connections === 1 ? '' : 's'}`
}

function toRow(summary: Summary): string[] {
  const isVoid = summary.faults.length > 0
  return [
    summary.contender,
    isVoid ? 'VOID' : decimal(summary.perSecond),
    `${decimal(summary.spread * 100)} %`,
    short(summary.timesRecipe),
    short(summary.timesRecipeByCpu),
    short(summary.timesBare),
    short(summary.p50Ms),
    short(summary.p99Ms),
    short(summary.p999Ms),
    short(summary.serverCpuUs),
    short(summary.postgresCpuUs),
    short(summary.commitsPerRequest),
    decimal(summary.walBytesPerRequest),
    decimal(summary.rssMb),
  ]
}

/** The service against the baseline, path by path; empty without a baseline. Above 1 the service is ahead. */
export function reportBaseline(summaries: Summary[]): string {
  const rows = summaries
    .filter(({ contender, timesBaseline }) => contender === 'service' && timesBaseline !== undefined)
    .map((service) => {
      const { path, connections } = service
      const baseline = findSummary(summaries, 'baseline', path, connections) as Summary
      return [
        titleOf(service),
        decimal(service.perSecond),
        decimal(baseline.perSecond),
        short(service.timesBaseline),
        short(service.timesBaselineByCpu),
        short(baseline.p50Ms / service.p50Ms),
        short(baseline.p99Ms / service.p99Ms),
        short(baseline.postgresCpuUs / service.postgresCpuUs),
      ]
    })
  const head = ['', 'req/s', 'baseline', 'req/s ×', 'CPU ÷', 'p50 ÷', 'p99 ÷', 'PostgreSQL ÷']
  return rows.length === 0 ? '' : table(head, rows)
}

interface Bar {
  name: string
  path: PathName
  connections: number
  /** At least. */
  bar: number
  figure: (service: Summary, recipe: Summary) => number | undefined
}

const timesRecipe = (service: Summary) => service.timesRecipe
const timesBare = (service: Summary) => service.timesBare
const READS: PathName[] = ['profile', 'sync-user', 'webhook']

// What the service is to reach.
const BARS: Bar[] = [
  { name: 'profile × recipe at 32', path: 'profile', connections: 32, bar: 12.5, figure: timesRecipe },
  { name: 'profile × recipe at 128', path: 'profile', connections: 128, bar: 15, figure: timesRecipe },
  { name: 'profile × bare at 128', path: 'profile', connections: 128, bar: 0.6, figure: timesBare },
  { name: 'profile-cold × recipe at 32', path: 'profile-cold', connections: 32, bar: 6, figure: timesRecipe },
  { name: 'profile-cold × recipe at 128', path: 'profile-cold', connections: 128, bar: 7, figure: timesRecipe },
  { name: 'sync-new × recipe at 32', path: 'sync-new', connections: 32, bar: 7, figure: timesRecipe },
  { name: 'sync-new × recipe at 128', path: 'sync-new', connections: 128, bar: 8, figure: timesRecipe },
  { name: 'sync-api × recipe at 32', path: 'sync-api', connections: 32, bar: 3, figure: timesRecipe },
  // Clerk's 50 ms decide here: the service may not be slower than the recipe.
  { name: 'sync-api-50 × recipe at 32', path: 'sync-api-50', connections: 32, bar: 1, figure: timesRecipe },
  { name: 'sync-user × recipe at 32', path: 'sync-user', connections: 32, bar: 12, figure: timesRecipe },
  { name: 'sync-user × recipe at 128', path: 'sync-user', connections: 128, bar: 16, figure: timesRecipe },
  { name: 'sync-user × bare at 128', path: 'sync-user', connections: 128, bar: 0.5, figure: timesBare },
  { name: 'webhook × recipe at 32', path: 'webhook', connections: 32, bar: 5.5, figure: timesRecipe },
  { name: 'webhook × recipe at 128', path: 'webhook', connections: 128, bar: 6.5, figure: timesRecipe },
  { name: 'webhook × bare at 128', path: 'webhook', connections: 128, bar: 0.25, figure: timesBare },
  { name: 'burst × recipe', path: 'burst', connections: 128, bar: 6.5, figure: timesRecipe },
  ...READS.map((path) => ({
    name: `${path} recipe's p50 / p50 at 1`,
    path,
    connections: 1,
    bar: path === 'webhook' ? 1.5 : 2,
    figure: (service: Summary, recipe: Summary) => recipe.p50Ms / service.p50Ms,
  })),
  ...READS.map((path) => ({
    name: `${path} recipe's p50 / p99 at 128`,
    path,
    connections: 128,
    bar: 1,
    figure: (service: Summary, recipe: Summary) => recipe.p50Ms / service.p99Ms,
  })),
]

/** Each figure that the service must reach, as far as it was measured. */
export function reportBars(summaries: Summary[]): string {
  const rows = BARS.flatMap(({ name, path, connections, bar, figure }) => {
    const service = findSummary(summaries, 'service', path, connections)
    const recipe = findSummary(summaries, 'recipe', path, connections)
    const value = service && recipe && figure(service, recipe)
    if (value === undefined) return []
    return [toBarRow(name, bar, value)]
  })
  return rows.length === 0 ? '' : table(BAR_HEAD, rows)
}
