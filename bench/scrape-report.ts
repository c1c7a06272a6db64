/** What `node bench/index.ts --scrape` prints. */
import type { ScrapeFigures } from './scrape.ts'
import { decimal, short, table } from './table.ts'

/** What a scrape must stay under, wherever. */
const BAR_MS = 5

type Row = [name: string, figure: (of: ScrapeFigures) => number]

const ROWS: Row[] = [
  ['CPU of the server, scrapes alone', ({ aloneCpu }) => aloneCpu],
  ['CPU of the server, asking PostgreSQL, p50', ({ askingCpuP50 }) => askingCpuP50],
  ['CPU of the server under load, mean', ({ underLoad }) => underLoad.cpuMean],
  ['CPU of the server under load, p50', ({ underLoad }) => underLoad.cpuP50],
  ['CPU of the server under load, p95', ({ underLoad }) => underLoad.cpuP95],
  ['CPU of the server under load, p99', ({ underLoad }) => underLoad.cpuP99],
  ['a millisecond of arithmetic under load, p95', ({ underLoad }) => underLoad.arithmetic.p95],
  ['a millisecond of arithmetic under load, p99', ({ underLoad }) => underLoad.arithmetic.p99],
  ['PostgreSQL, p50', ({ postgres }) => postgres.p50],
  ['PostgreSQL, most', ({ postgres }) => postgres.max],
  ['latency alone, p50', ({ latency }) => latency.scrapeAlone.p50],
  ['latency alone, p99', ({ latency }) => latency.scrapeAlone.p99],
  ['latency alone of /livez, p50', ({ latency }) => latency.livezAlone.p50],
  ['latency under load, p50', ({ latency }) => latency.scrape.p50],
  ['latency under load, p99', ({ latency }) => latency.scrape.p99],
  ['latency under load of /livez, p50', ({ latency }) => latency.livez.p50],
  ['latency under load of /livez, p99', ({ latency }) => latency.livez.p99],
]

/** A table a number of connections: in ms, at each number of users, and the last against the first. */
export function reportScrapes(figures: ScrapeFigures[]): string {
  const groups = Map.groupBy(figures, ({ connections }) => connections)
  return [...groups]
    .map(([connections, group]) => `${reportGroup(connections, group)}\n\n${reportBar(group)}`)
    .join('\n\n')
}

function reportGroup(connections: number, group: ScrapeFigures[]): string {
  const [first, last] = [group[0] as ScrapeFigures, group.at(-1) as ScrapeFigures]
  const isVoid = group.some(({ faults }) => faults.length > 0)
  const rows = ROWS.map(([name, figure]) => [
    name,
    ...group.map((one) => short(figure(one))),
    ratio(figure(first), figure(last)),
  ])
  const counts = [
    ['latency under load, p50, beyond that of /livez', ...group.map(beyondLivez).map(short), ''],
    ['bytes of the answer', ...group.map(({ bytes }) => decimal(bytes)), ratio(first.bytes, last.bytes)],
    ['scrapes under load', ...group.map(({ scrapesUnderLoad }) => decimal(scrapesUnderLoad)), ''],
    ['req/s of the load', ...group.map(({ perSecond }) => (isVoid ? 'VOID' : decimal(perSecond))), ''],
  ]
  const head = ['ms', ...group.map(({ users }) => `${decimal(users)} users`), '×']
  return `### scrape, ${connections} connections\n\n${table(head, [...rows, ...counts])}`
}

const beyondLivez = ({ latency }: ScrapeFigures) => latency.scrape.p50 - latency.livez.p50
const ratio = (first: number, last: number) => short(last / first)

function reportBar(group: ScrapeFigures[]): string {
  const bars: Row[] = [
    ['CPU of the server under load, mean', ({ underLoad }) => underLoad.cpuMean],
    ['CPU of the server under load, p95', ({ underLoad }) => underLoad.cpuP95],
    ['server and PostgreSQL, of a scrape that asks it', ({ askingCpuP50, postgres }) => askingCpuP50 + postgres.p50],
  ]
  const rows = bars.map(([name, figure]) => {
    const worst = Math.max(...group.map(figure))
    return [name, short(BAR_MS), short(worst), worst < BAR_MS ? 'reached' : 'missed']
  })
  return table(['bar, ms', 'under', 'is', ''], rows)
}
