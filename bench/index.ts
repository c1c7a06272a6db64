/** Measures the service against the documented recipe and bare Fastify. See README.md. */
import { reportBackfills, runBackfills } from './backfill.ts'
import { reportChanges, runChanges } from './changes.ts'
import { reportGrowth, runGrowth } from './growth.ts'
import { type Issuer, startIssuer } from './issuer.ts'
import { reportJwt, runJwt } from './jwt.ts'
import { describeMachine } from './machine.ts'
import { reportLoads, runOpenLoop } from './open-loop.ts'
import { type Options, readOptions, USAGE } from './options.ts'
import { runPeers } from './peers.ts'
import { report, reportBars, reportBaseline } from './report.ts'
import { runScrapes } from './scrape.ts'
import { reportScrapes } from './scrape-report.ts'
import { reportStarts, runStarts } from './start.ts'
import { summarize } from './summary.ts'

const progress = (text: string) => process.stderr.write(`${text.trim()}\n`)

interface Outcome {
  text: string
  figures: unknown
  faults: string[]
}

const run: Record<Options['mode'], (options: Options, issuer: Issuer) => Promise<Outcome>> = {
  async peers(options, issuer) {
    const measurements = await runPeers(options, issuer, progress)
    const summaries = summarize(measurements)
    return {
      text: [report(summaries), reportBaseline(summaries), reportBars(summaries)].filter(Boolean).join('\n\n'),
      figures: summaries,
      faults: measurements.flatMap(({ faults }) => faults),
    }
  },
  async 'open-loop'(options, issuer) {
    const figures = await runOpenLoop(options, issuer, progress)
    return {
      text: reportLoads(figures, options),
      figures,
      faults: figures.flatMap(({ faults }) => faults),
    }
  },
  async start(options, issuer) {
    const figures = await runStarts(options, issuer, progress)
    return { text: reportStarts(figures), figures, faults: [] }
  },
  async growth(options, issuer) {
    const stages = await runGrowth(options, issuer, progress)
    const faults = stages.flatMap(({ summaries }) => summaries.flatMap(({ faults }) => faults))
    return { text: reportGrowth(stages), figures: stages, faults }
  },
  async jwt(options, issuer) {
    const figures = await runJwt(options, issuer, progress)
    return { text: reportJwt(figures), figures, faults: figures.flatMap(({ faults }) => faults) }
  },
  async backfill(options) {
    const figures = await runBackfills(options, progress)
    return { text: reportBackfills(figures), figures, faults: figures.flatMap(({ faults }) => faults) }
  },
  async changes(options) {
    const figures = await runChanges(options, progress)
    return { text: reportChanges(figures), figures, faults: [] }
  },
  async scrape(options, issuer) {
    const figures = await runScrapes(options, issuer, progress)
    return { text: reportScrapes(figures), figures, faults: figures.flatMap(({ faults }) => faults) }
  },
}

let options: Options
try {
  options = readOptions(process.argv.slice(2))
} catch (error) {
  console.error(`${(error as Error).message}\n${USAGE}`)
  process.exit(2)
}
// What was started ends with this process.
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.once(signal, () => {
    console.error(`ended by ${signal}`)
    process.exit(130)
  })
const machine = describeMachine()
const issuer = await startIssuer()
const { text, figures, faults } = await run[options.mode](options, issuer).finally(() => issuer.close())
console.log(options.isJson ? JSON.stringify({ machine, options, figures }, null, 2) : `${machine}\n\n${text.trim()}`)
if (faults.length > 0) {
  console.error(`VOID: ${faults.length} faults; the first: ${faults[0]}`)
  process.exitCode = 1
}
