/** Several paths at once, in fixed shares. */
import type { PathName } from './options.ts'
import { type Plan, type Planner, PROFILE, planners, readPlanner, syncNew, webhook } from './paths.ts'
import { ASSUMPTIONS, sharesOf, simulate } from './simulation.ts'

export const KINDS = ['profile', 'profile-cold', 'sync-new', 'webhook'] as const
export type Kind = (typeof KINDS)[number]
/** Of all requests; they add up to 1. */
export type Shares = Partial<Record<Kind, number>>

const PLANNERS: Record<Kind, Planner> = {
  profile: readPlanner('GET', PROFILE, ({ tokens }) => tokens, false),
  'profile-cold': readPlanner('GET', PROFILE, ({ coldTokens }) => coldTokens, false),
  'sync-new': syncNew((_options, requests) => requests, false),
  webhook,
}

const PATTERN_LENGTH = 1_000

/** Which kind is sent when, evenly spread, and the how-manieth of its kind each is within the pattern. */
function makePattern(shares: Shares) {
  const credit = new Map(KINDS.filter((kind) => shares[kind]).map((kind) => [kind, 0]))
  const counts = new Map<Kind, number>()
  const steps = Array.from({ length: PATTERN_LENGTH }, () => {
    for (const [kind, value] of credit) credit.set(kind, value + (shares[kind] as number))
    const [kind] = [...credit].reduce((most, next) => (next[1] > most[1] ? next : most))
    credit.set(kind, (credit.get(kind) as number) - 1)
    const ordinal = counts.get(kind) ?? 0
    counts.set(kind, ordinal + 1)
    return { kind, ordinal }
  })
  return { steps, counts }
}

/** A planner of these shares. Its latencies are told apart by kind. */
export const mixOf =
  (shares: Shares): Planner =>
  async (world, target, requests, connections) => {
    const { steps, counts } = makePattern(shares)
    const patterns = Math.ceil(requests / PATTERN_LENGTH)
    const stepOf = (index: number) => steps[index % PATTERN_LENGTH] as (typeof steps)[number]
    const ordinalOf = (index: number) => {
      const { kind, ordinal } = stepOf(index)
      return Math.floor(index / PATTERN_LENGTH) * (counts.get(kind) as number) + ordinal
    }
    const plans: [Kind, Plan][] = []
    for (const [kind, count] of counts) {
      plans.push([kind, await PLANNERS[kind](world, target, patterns * count, connections)])
    }
    const planOf = new Map(plans)
    return {
      request: (index) => planOf.get(stepOf(index).kind)?.request(ordinalOf(index)),
      kindOf: (index) => stepOf(index).kind,
      async findFaults(result) {
        const faults: string[] = []
        const sent = Map.groupBy(Array(result.sent).keys(), (index) => stepOf(index).kind)
        for (const [kind, plan] of plans) {
          const samples = result.samples
            .filter(({ index }) => stepOf(index).kind === kind)
            .map(({ index, body }) => ({ index: ordinalOf(index), body }))
          faults.push(...(await plan.findFaults({ ...result, sent: sent.get(kind)?.length ?? 0, samples })))
        }
        return faults
      },
    }
  }

/** The planner of a path; `mix` has the shares that the simulated day has at its peak. */
export function plannerOf(path: PathName): Planner {
  if (path !== 'mix') return planners[path]
  mix ??= mixOf(sharesOf(simulate(ASSUMPTIONS)))
  return mix
}
let mix: Planner | undefined

/** Profiles and webhooks by turns. */
export const planMixed = mixOf({ profile: 0.5, webhook: 0.5 })
