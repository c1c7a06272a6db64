import { setTimeout as sleep } from 'node:timers/promises'
import { randomFrom } from '../db/delivery.ts'
import type { Scope } from '../helpers/own-postgres.ts'
import { startCallers } from './callers.ts'
import { endlessly, FAULTS } from './faults.ts'
import { type FeedFigures, startFeed } from './feed.ts'
import type { Options } from './options.ts'
import { untilHealthy } from './replica.ts'
import { startSender } from './sender.ts'
import { type Count, createTally } from './tally.ts'
import { verify } from './verify.ts'
import { createWorld } from './world.ts'

export interface Report {
  seed: number
  seconds: number
  faults: Record<string, number>
  isDiskReal: boolean
  requests: Record<string, Count>
  acknowledged: number
  found: number
  lost: number
  /** Of the change feed, by pull and by push. */
  feed: FeedFigures
  /** The longest that any request took that was answered. */
  longestMs: number
  /** Of the replica that was never restarted. */
  memoryMb: { start: number; end: number }
  /** What must not be; empty is passed. */
  violations: string[]
}

const WARM_UP_MS = 2_000
const MAX_VIOLATIONS_SHOWN = 20

/** Breaks one thing after the other under load, for so long, each kind of fault once at least. Then looks at what is left. */
export async function runSoak(scope: Scope, options: Options, progress: (text: string) => void): Promise<Report> {
  const { seed, minutes, service } = options
  progress(`seed ${seed}`)
  const startedAt = performance.now()
  const seconds = () => (performance.now() - startedAt) / 1000
  const world = await createWorld(scope, service)
  const tally = createTally()
  const random = randomFrom(seed)
  const sender = startSender(world, tally, seed)
  const endCallers = startCallers(world, tally, seed)
  const endFeed = startFeed(world, tally)
  await sleep(WARM_UP_MS)
  const start = world.steady.memoryMb()

  const faults: Record<string, number> = {}
  for (const name of endlessly(random)) {
    if (seconds() > minutes * 60 && name in faults && Object.keys(faults).length === Object.keys(FAULTS).length) break
    progress(`${seconds().toFixed(0)} s: ${name}`)
    await FAULTS[name]?.(world, random, tally)
    faults[name] = (faults[name] ?? 0) + 1
    // Nothing is restarted for it.
    for (const replica of world.replicas) await untilHealthy(replica)
    await sleep(random(1_000))
  }
  await Promise.all([sender.finish(), endCallers()])
  const end = world.steady.memoryMb()
  const found = await verify(world, sender, tally)
  const feed = await endFeed()
  for (const { name, errors } of world.replicas) {
    for (const line of errors) tally.violate(`replica ${name} logged: ${line.slice(0, 500)}`)
  }
  const requests = Object.fromEntries([...tally.requests].sort())
  return {
    seed,
    seconds: seconds(),
    faults,
    isDiskReal: world.disk.isReal,
    requests,
    acknowledged: sender.acknowledged.size,
    found,
    lost: sender.acknowledged.size - found,
    feed,
    longestMs: Math.max(...Object.values(requests).map(({ longestMs }) => longestMs)),
    memoryMb: { start, end },
    violations: [...tally.violations]
      .slice(0, MAX_VIOLATIONS_SHOWN)
      .map(([what, times]) => (times > 1 ? `${what} (${times} times)` : what)),
  }
}
