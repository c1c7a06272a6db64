/** Breaks the service, its database and its network under load, again and again, and counts what is lost: nothing. */
import { type Options, readOptions, USAGE } from './options.ts'
import { format } from './report.ts'
import { runSoak } from './soak.ts'

let options: Options
try {
  options = readOptions(process.argv.slice(2))
} catch (error) {
  console.error(`${(error as Error).message}\n${USAGE}`)
  process.exit(2)
}

const cleanUps: (() => unknown)[] = []
async function cleanUp(): Promise<void> {
  for (const step of cleanUps.splice(0).reverse()) await step()
}
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => void cleanUp().finally(() => process.exit(130)))
}

try {
  const report = await runSoak({ teardown: (step) => cleanUps.push(step) }, options, (text) => console.error(text))
  console.log(options.isJson ? JSON.stringify(report, null, 2) : format(report))
  if (report.lost > 0 || report.violations.length > 0) {
    console.error(`FAILED, with --seed ${options.seed}:\n${report.violations.join('\n')}`)
    process.exitCode = 1
  }
} catch (error) {
  console.error(`FAILED, with --seed ${options.seed}:`, error)
  process.exitCode = 1
} finally {
  await cleanUp()
}
// Connections kept open would keep the process for a while.
process.exit()
