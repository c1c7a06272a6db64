/** From runs to figures: medians over the rounds, their spread, and ratios of contenders that took turns. */
import type { Measurement } from './measure.ts'
import { CONTENDERS, type ContenderName, type PathName } from './options.ts'

type Figure = { [K in keyof Measurement]-?: Measurement[K] extends number ? K : never }[keyof Measurement]

export interface Summary extends Measurement {
  /** Half the range of `perSecond` over the rounds, as a share of the median. */
  spread: number
  /** The median over the rounds; undefined where the other was not measured. */
  timesRecipe?: number
  timesBare?: number
  timesBaseline?: number
  /** How many of its requests cost the CPU time of one of the recipe's: what a crowded machine tells best. */
  timesRecipeByCpu?: number
  /** The same of the baseline's requests. */
  timesBaselineByCpu?: number
}

const FIGURES: Figure[] = [
  'perSecond',
  'p50Ms',
  'p99Ms',
  'p999Ms',
  'serverCpuUs',
  'postgresCpuUs',
  'commitsPerRequest',
  'walBytesPerRequest',
  'rssMb',
  'peakMb',
]

/** One summary a path, number of connections and contender; of these in the order of their names in the options. */
export function summarize(measurements: Measurement[]): Summary[] {
  const inOrder = measurements.toSorted((a, b) => CONTENDERS.indexOf(a.contender) - CONTENDERS.indexOf(b.contender))
  const groups = Map.groupBy(inOrder, keyOf)
  // What is void has no ratio.
  const roundsOf = ({ path, connections }: Measurement, contender: ContenderName) => {
    const rounds = groups.get(keyOf({ path, connections, contender }))
    return rounds?.some(({ faults }) => faults.length > 0) ? undefined : rounds
  }
  return [...groups.values()].map((rounds) => {
    const first = rounds[0] as Measurement
    const own = roundsOf(first, first.contender)
    const recipe = own && roundsOf(first, 'recipe')
    const bare = own && roundsOf(first, 'bare')
    const baseline = own && roundsOf(first, 'baseline')
    const rates = rounds.map(({ perSecond }) => perSecond)
    return {
      ...first,
      ...Object.fromEntries(FIGURES.map((figure) => [figure, median(rounds.map((round) => round[figure]))])),
      spread: (Math.max(...rates) - Math.min(...rates)) / 2 / median(rates),
      timesRecipe: recipe && ratio(rounds, recipe, 'perSecond'),
      timesBare: bare && ratio(rounds, bare, 'perSecond'),
      timesBaseline: baseline && ratio(rounds, baseline, 'perSecond'),
      timesBaselineByCpu: baseline && ratio(baseline, rounds, 'serverCpuUs'),
      timesRecipeByCpu: recipe && ratio(recipe, rounds, 'serverCpuUs'),
      faults: rounds.flatMap(({ faults }) => faults),
    }
  })
}

export function findSummary(
  summaries: Summary[],
  contender: ContenderName,
  path: PathName,
  connections: number,
): Summary | undefined {
  return summaries.find((summary) => keyOf(summary) === keyOf({ contender, path, connections }))
}

const keyOf = ({ path, connections, contender }: Pick<Measurement, 'path' | 'connections' | 'contender'>) =>
  `${path} ${connections} ${contender}`

// Round by round: what slowed a round down slowed both.
function ratio(of: Measurement[], to: Measurement[], figure: Figure): number {
  return median(of.map((round, index) => round[figure] / (to[index] as Measurement)[figure]))
}

/** Of an even number the mean of the two in the middle; NaN of none. */
export function median(values: number[]): number {
  if (values.length === 0) return Number.NaN
  const ascending = values.toSorted((a, b) => a - b)
  const middle = ascending.length >> 1
  return ascending.length % 2 === 1
    ? (ascending[middle] as number)
    : ((ascending[middle - 1] as number) + (ascending[middle] as number)) / 2
}
