/** What a request costs as the tables grow: the same load at ever more users, and then on a long ledger. */
import { spread } from './bench-user.ts'
import type { Issuer } from './issuer.ts'
import { moveToOtherCore } from './machine.ts'
import type { Measurement } from './measure.ts'
import type { Options } from './options.ts'
import { createDatabaseFor, createWorld, type Progress, runRounds, startContender } from './peers.ts'
import { type Database, type Postgres, startPostgres } from './postgres.ts'
import { type Summary, summarize } from './summary.ts'
import { decimal, short, table } from './table.ts'
import { signTokens } from './tokens.ts'

export interface Stage {
  name: string
  summaries: Summary[]
}

/** Measures at each size, in a process that is new each time. What it starts it ends. */
export async function runGrowth(options: Options, issuer: Issuer, progress: Progress): Promise<Stage[]> {
  const { growthUsers, growthLedgerRows } = options
  // As many users ask at each size, spread over all there are.
  const tokens = Math.min(options.tokens, ...growthUsers)
  progress('signing tokens')
  const numbers = growthUsers.flatMap((users) => spread(tokens, users))
  const world = createWorld({ ...options, tokens, coldTokens: tokens }, await signTokens(issuer, numbers))
  moveToOtherCore()
  const stages: Stage[] = []
  let postgres: Postgres | undefined
  try {
    postgres = await startPostgres()
    const databases = new Map<string, Database>()
    for (const name of options.contenders) {
      const database = await createDatabaseFor(name, options, postgres, 0, 0)
      if (database) databases.set(name, database)
    }

    async function measureStage(name: string, users: number): Promise<void> {
      progress(`measuring at ${name}`)
      world.options = { ...world.options, users }
      const measurements: Measurement[] = []
      for (const contender of options.contenders) {
        const running = await startContender(contender, options, issuer, databases.get(contender))
        try {
          measurements.push(...(await runRounds(world, [running], progress)))
        } finally {
          await running.stop()
        }
      }
      stages.push({ name, summaries: summarize(measurements) })
    }

    for (const users of growthUsers) {
      progress(`growing to ${users} users`)
      for (const database of databases.values()) await database.growTo(users, world.firstVersion)
      await measureStage(`${decimal(users)} users`, users)
    }
    progress(`growing the ledger by ${growthLedgerRows} rows`)
    for (const database of databases.values()) await database.growLedger(growthLedgerRows)
    await measureStage(`and ${decimal(growthLedgerRows)} ledger rows`, Math.max(...growthUsers))
    return stages
  } finally {
    await postgres?.stop()
  }
}

/** A table a path: each stage, and what its requests cost against those of the first. */
export function reportGrowth(stages: Stage[]): string {
  const first = stages[0] as Stage
  return first.summaries
    .map((base, index) => {
      const rows = stages.map(({ name, summaries }) => {
        const summary = summaries[index] as Summary
        return [
          name,
          summary.faults.length > 0 ? 'VOID' : decimal(summary.perSecond),
          short(summary.p50Ms),
          short(summary.p99Ms),
          short(summary.serverCpuUs),
          percent(summary.serverCpuUs / base.serverCpuUs),
          short(summary.postgresCpuUs),
          percent(summary.postgresCpuUs / base.postgresCpuUs),
          short(costUs(summary)),
          percent(costUs(summary) / costUs(base)),
          decimal(summary.rssMb),
        ]
      })
      const last = stages.at(-1)?.summaries[index] as Summary
      const growth = costUs(last) / costUs(base)
      const isReached = growth <= MOST_GROWTH
      const bar =
        base.contender === 'service' && base.path === 'webhook'
          ? `\n\nBar: at most +15 % from the first to the last line. ${isReached ? 'Reached' : 'Missed'}: ${percent(growth)}.`
          : ''
      const head = ['', 'req/s', 'p50 ms', 'p99 ms', 'CPU µs', '', 'PostgreSQL µs', '', 'both µs', '', 'RSS MB']
      return `### ${base.contender}, ${base.path}, ${base.connections} connections\n\n${table(head, rows)}${bar}`
    })
    .join('\n\n')
}

// Of the cost of a webhook, service and PostgreSQL together.
const MOST_GROWTH = 1.15

const costUs = ({ serverCpuUs, postgresCpuUs }: Summary) => serverCpuUs + postgresCpuUs

function percent(ratio: number): string {
  return `${ratio >= 1 ? '+' : '−'}${decimal(Math.abs(ratio - 1) * 100)} %`
}
