/** How long a contender takes from its start to its first answer, on a migrated database, and what it holds in memory at rest. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Issuer } from './issuer.ts'
import { memoryMb, moveToOtherCore } from './machine.ts'
import type { ContenderName, Options } from './options.ts'
import { createDatabaseFor, type Progress, startContender } from './peers.ts'
import { type Database, startPostgres } from './postgres.ts'
import { median } from './summary.ts'
import { BAR_HEAD, decimal, short, table, toBarRow } from './table.ts'

export interface StartFigure {
  contender: ContenderName
  startMs: number
  restMb: number
}

/** Starts each contender once a round. What it starts it ends. */
export async function runStarts(options: Options, issuer: Issuer, progress: Progress): Promise<StartFigure[]> {
  moveToOtherCore()
  const postgres = await startPostgres()
  try {
    const databases = new Map<ContenderName, Database | undefined>()
    for (const name of options.contenders) {
      databases.set(name, await createDatabaseFor(name, options, postgres, options.tokens, Date.now()))
    }
    const figures: StartFigure[] = []
    for (let round = 1; round <= options.rounds; round += 1) {
      for (const contender of options.contenders) {
        const startedAt = performance.now()
        const running = await startContender(contender, options, issuer, databases.get(contender))
        const startMs = performance.now() - startedAt
        await sleep(options.restSeconds * 1000)
        figures.push({ contender, startMs, restMb: memoryMb(running.pid).rss })
        await running.stop()
        progress(`round ${round} ${contender}: ${startMs.toFixed(0)} ms`)
      }
    }
    return figures
  } finally {
    await postgres.stop()
  }
}

// Goals: the start at most three times bare Fastify's, at rest at most 100 MB. As ratios, so that more is better.
const MOST_TIMES_BARE = 3
const MOST_MB_AT_REST = 100

/** Medians over the rounds. */
export function reportStarts(figures: StartFigure[]): string {
  const groups = Map.groupBy(figures, ({ contender }) => contender)
  const startOf = (name: ContenderName) => median(groups.get(name)?.map(({ startMs }) => startMs) ?? [])
  const restOf = (name: ContenderName) => median(groups.get(name)?.map(({ restMb }) => restMb) ?? [])
  const rows = [...groups.keys()].map((name) => [
    name,
    decimal(startOf(name)),
    short(startOf(name) / startOf('bare')),
    decimal(restOf(name)),
  ])
  const bars = [
    toBarRow('3 × bare / start', 1, (MOST_TIMES_BARE * startOf('bare')) / startOf('service')),
    toBarRow('100 MB / memory at rest', 1, MOST_MB_AT_REST / restOf('service')),
  ]
  return `${table(['', 'start ms', '× bare', 'MB at rest'], rows)}\n\n${table(BAR_HEAD, bars)}`
}
