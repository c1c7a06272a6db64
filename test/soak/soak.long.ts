import { execFile } from 'node:child_process'
import { join } from 'node:path'
import tap, { test } from 'tap'
import { POSTGRES_FILE } from '../helpers/postgres-server.ts'
import { ROOT } from '../helpers/process.ts'
import { FAULTS } from './faults.ts'
import type { Report } from './soak.ts'

tap.setTimeout(900_000)

interface Run {
  code: number
  stdout: string
  stderr: string
}

// By env, out of tap's reach: half of what runs in there is killed, and has nothing to report.
function runSoak(...args: string[]): Promise<Run> {
  // The last one says where the logs of the run are kept.
  const env = ['-i', `PATH=${process.env.PATH}`, `HOME=${process.env.HOME}`, `TEST_POSTGRES_FILE=${POSTGRES_FILE}`]
  return new Promise((resolve) => {
    execFile(
      '/usr/bin/env',
      [...env, process.execPath, join(ROOT, 'test/soak/index.ts'), ...args],
      { cwd: ROOT },
      (error, stdout, stderr) => resolve({ code: error === null ? 0 : Number(error.code ?? 1), stdout, stderr }),
    )
  })
}

test('every fault once, under load: nothing acknowledged is lost, nothing hangs, and all of it recovers', async (t) => {
  // From src, which is there without a build. It ends with the first round of all faults.
  const { code, stdout, stderr } = await runSoak('--minutes', '0.1', '--service', 'src/server.ts', '--json')
  t.comment(stderr)
  t.equal(code, 0, stderr)
  const report = JSON.parse(stdout) as Report
  t.strictSame(report.violations, [], `seed ${report.seed}`)
  t.strictSame(Object.keys(report.faults).toSorted(), Object.keys(FAULTS).toSorted())
  t.equal(report.lost, 0)
  t.equal(report.found, report.acknowledged)
  t.ok(report.acknowledged > 100)
  t.match(report.feed, { lost: 0, outOfOrder: 0 })
  t.ok(report.feed.changes > 100)
  for (const [kind, { ok, wrong }] of Object.entries(report.requests)) {
    t.ok(ok > 0, `${kind} was answered`)
    t.equal(wrong, 0, `${kind} was never answered wrongly`)
  }
  t.ok(report.memoryMb.end < 2 * report.memoryMb.start, `memory is flat: ${JSON.stringify(report.memoryMb)}`)
})

test('a wrong option is reported, with the usage', async (t) => {
  for (const args of [['--minutes', 'x'], ['--seed', '1.5'], ['--nonsense']]) {
    const { code, stderr } = await runSoak(...args)
    t.equal(code, 2)
    t.match(stderr, 'npm run soak -- [--minutes 5]')
  }
})
