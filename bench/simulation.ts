/**
 * A day of users, simulated: when they open the application, for how long, which calls their tabs make with which tokens. It
 * yields the requests that reach the service, per second in the busiest minute, and so the mix for the load test.
 *
 *   node bench/simulation.ts [--json]
 */
import { parseArgs } from 'node:util'
import type { Shares } from './mix.ts'
import { decimal, table } from './table.ts'

/** What is assumed of an application and its users. Each can be set on the command line: `--callsPerMinute 10`. */
export const ASSUMPTIONS = {
  /** Of the monthly users, those who come on a given day. */
  dailyShare: 0.2,
  visitsPerDay: 2,
  /** Mean time that a tab is open and in use; exponentially distributed. Clerk refreshes tokens only in a tab that is. */
  visitMinutes: 10,
  /** Authenticated calls of an open tab to the backend; exponentially spaced. */
  callsPerMinute: 4,
  /** A token lives 60 s, and Clerk's SDK replaces it after about 50. */
  refreshSeconds: 50,
  /** Visits that begin with a sign-in: a session lives 7 days. The client syncs once after each. */
  signInShare: 0.15,
  /** Of the monthly users, those who are new in a month. */
  newShare: 0.05,
  /** Changes of the profile by a daily user in a day. */
  profileChanges: 0.02,
  /** Of a sinusoidal day: the peak is at (1 + amplitude) times the mean. 1 means that all users sleep at the same time. */
  amplitude: 0.8,
  /** Replicas of the service: each verifies a token when it sees it for the first time. */
  replicas: 2,
}
export type Assumptions = typeof ASSUMPTIONS

/** Per monthly user: the mean of the day, and the busiest minute, both per second. */
export type Rates = Record<'profileWarm' | 'profileCold' | 'sync' | 'webhooks', { mean: number; peak: number }>

const DAY_MINUTES = 1_440
const DAYS_PER_MONTH = 30
// So many that the busiest minute is not decided by chance.
const SIMULATED_USERS = 1_000_000
const SEED = 20_260_101
/** Of a sign-in: `session.created`, `user.updated` (its `last_sign_in_at`), and in the end `session.ended` or `session.removed`. */
const EVENTS_AFTER_SIGN_IN = 2

/** The same numbers at each run (mulberry32). */
function makeRandom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Simulates one day, minute by minute. */
export function simulate(assumptions: Assumptions, users = SIMULATED_USERS): Rates {
  const { dailyShare, visitsPerDay, visitMinutes, callsPerMinute, refreshSeconds, signInShare } = assumptions
  const { newShare, profileChanges, amplitude, replicas } = assumptions
  const random = makeRandom(SEED)
  const exponential = (mean: number) => -Math.log(1 - random()) * mean
  const minutes = { profileWarm: zeros(), profileCold: zeros(), sync: zeros(), webhooks: zeros() }
  const add = (name: keyof typeof minutes, minute: number, count = 1) => {
    const index = Math.floor(minute) % DAY_MINUTES
    minutes[name][index] = (minutes[name][index] as number) + count
  }
  /** By rejection: the day's curve has its peak at noon. */
  function moment(): number {
    for (;;) {
      const minute = random() * DAY_MINUTES
      const height = 1 - amplitude * Math.cos((2 * Math.PI * minute) / DAY_MINUTES)
      if (random() * (1 + amplitude) < height) return minute
    }
  }

  for (let visit = Math.round(users * dailyShare * visitsPerDay); visit > 0; visit -= 1) {
    const start = moment()
    if (random() < signInShare) {
      add('sync', start)
      add('webhooks', start, EVENTS_AFTER_SIGN_IN)
      add('webhooks', moment()) // The end of a session of some days ago.
    }
    const end = start + exponential(visitMinutes)
    // Which replicas know the token: bit by bit.
    let known = 0
    let token = 0
    for (let at = start; at < end; at += exponential(1 / callsPerMinute)) {
      const current = Math.floor(((at - start) * 60) / refreshSeconds)
      if (current !== token) known = 0
      token = current
      const replica = 1 << Math.floor(random() * replicas)
      add((known & replica) === 0 ? 'profileCold' : 'profileWarm', at)
      known |= replica
    }
  }
  for (let count = (users * newShare) / DAYS_PER_MONTH; count >= 1; count -= 1) add('webhooks', moment())
  for (let count = users * dailyShare * profileChanges; count >= 1; count -= 1) add('webhooks', moment())

  const perSecond = (counts: Float64Array) => ({
    mean: counts.reduce((sum, count) => sum + count, 0) / (DAY_MINUTES * 60) / users,
    peak: busiest(counts) / 60 / users,
  })
  return {
    profileWarm: perSecond(minutes.profileWarm),
    profileCold: perSecond(minutes.profileCold),
    sync: perSecond(minutes.sync),
    webhooks: perSecond(minutes.webhooks),
  }
}

const zeros = () => new Float64Array(DAY_MINUTES)

const WINDOW_MINUTES = 30

/** A minute within the busiest half an hour. */
function busiest(counts: Float64Array): number {
  let most = 0
  for (let first = 0; first + WINDOW_MINUTES <= counts.length; first += 1) {
    const sum = counts.subarray(first, first + WINDOW_MINUTES).reduce((sum, count) => sum + count, 0)
    most = Math.max(most, sum / WINDOW_MINUTES)
  }
  return most
}

/** The shares of the busiest minute. */
export function sharesOf({ profileWarm, profileCold, sync, webhooks }: Rates): Shares {
  const all = profileWarm.peak + profileCold.peak + sync.peak + webhooks.peak
  return {
    profile: profileWarm.peak / all,
    'profile-cold': profileCold.peak / all,
    'sync-new': sync.peak / all,
    webhook: webhooks.peak / all,
  }
}

const SIZES = [1_000_000, 10_000_000, 100_000_000]

/** Requests per second in the busiest minute, and webhooks a month, at each number of monthly users. */
export function reportRates(rates: Rates): string {
  const { profileWarm, profileCold, sync, webhooks } = rates
  const rows = SIZES.map((users) => [
    decimal(users),
    decimal((profileWarm.peak + profileCold.peak) * users),
    decimal(profileCold.peak * users),
    decimal(sync.peak * users, 1),
    decimal(webhooks.peak * users, 1),
    decimal((profileWarm.mean + profileCold.mean) * users),
    decimal((webhooks.mean * users * 86_400 * DAYS_PER_MONTH) / 1e6, 1),
  ])
  const head = [
    'monthly users',
    'calls/s',
    'of them new tokens',
    'sync/s',
    'webhooks/s',
    'calls/s, mean',
    'million webhooks in 30 d',
  ]
  const shares = Object.entries(sharesOf(rates)).map(([kind, share]) => `${kind} ${decimal(share * 100, 1)} %`)
  return `${table(head, rows)}\n\nMix in the busiest minute: ${shares.join(', ')}`
}

if (process.argv[1] === import.meta.filename) {
  const names = Object.keys(ASSUMPTIONS) as (keyof Assumptions)[]
  const { values } = parseArgs({
    options: {
      json: { type: 'boolean', default: false },
      ...Object.fromEntries(names.map((name) => [name, { type: 'string' as const }])),
    },
  })
  const given: Record<string, unknown> = values
  const assumptions = Object.fromEntries(
    names.map((name) => [name, Number(given[name] ?? ASSUMPTIONS[name])]),
  ) as Assumptions
  const rates = simulate(assumptions)
  console.log(
    values.json ? JSON.stringify({ assumptions, rates, shares: sharesOf(rates) }, null, 2) : reportRates(rates),
  )
}
