/**
 * tap's `after`: stops PostgreSQL, and holds every log line of the run against what none may hold. Exits with 1 if one does, which
 * fails the run. Not in it: what `dev` prints for its user to copy, the results of commands, and the contenders of the bench.
 */
import { rmSync } from 'node:fs'
import { checkLogs } from './check-logs.ts'
import { LOG_DIRECTORY } from './run-log.ts'
import './stop-postgres.ts'

// A run of most test files writes many times as much: fewer would mean that nothing is kept any more.
const MANY_WRITERS = 30
const LEAST_LINES = 5_000
const SHOWN = 20
const SHOWN_CHARACTERS = 600

const { writers, lines, forbidden, leaks } = checkLogs(LOG_DIRECTORY)
console.error(
  `log check: ${lines} lines of ${writers} test files, ${forbidden} secrets and names, ${leaks.length} leaks`,
)
for (const { what, line } of leaks.slice(0, SHOWN)) console.error(`  ${what} in ${line.slice(0, SHOWN_CHARACTERS)}`)
if (writers >= MANY_WRITERS && lines < LEAST_LINES) {
  console.error(`log check: at least ${LEAST_LINES} lines are expected`)
  process.exitCode = 1
}
// Else they stay, to be looked at.
if (leaks.length > 0) process.exitCode = 1
else rmSync(LOG_DIRECTORY, { recursive: true })
