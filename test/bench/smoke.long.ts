import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'tap'

const ROOT = join(import.meta.dirname, '../..')

interface Run {
  code: number
  stdout: string
  stderr: string
}

// By env, out of tap's reach: nothing is to be measured in there but the bench's own figures.
function runBench(...args: string[]): Promise<Run> {
  const env = ['-i', `PATH=${process.env.PATH}`, `HOME=${process.env.HOME}`]
  return new Promise((resolve) => {
    const file = join(ROOT, 'bench/index.ts')
    execFile('/usr/bin/env', [...env, process.execPath, file, ...args], { cwd: ROOT }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code ?? 1), stdout, stderr })
    })
  })
}

// From src, which is there without a build.
const QUICK = ['--quick', '--service', 'src/server.ts']

test('every contender answers on every path, and every row is what was sent', async (t) => {
  const { code, stdout, stderr } = await runBench(...QUICK)
  t.equal(code, 0, stderr)
  for (const path of [
    'profile',
    'profile-cold',
    'sync-user',
    'sync-new',
    'webhook',
    'burst',
    'sync-api',
    'sync-api-50',
  ]) {
    const [, table = ''] = stdout.split(`### ${path}, 8 connections\n`)
    // Bare Fastify asks nobody.
    for (const contender of path.startsWith('sync-api') ? ['service', 'recipe'] : ['service', 'recipe', 'bare']) {
      t.match(table, new RegExp(`^\\| ${contender} +\\| +[\\d,]+ \\|`, 'm'), `${contender} has a figure on ${path}`)
    }
  }
})

// `npm run test:long` builds this checkout first, so that it can be its own baseline.
test('a built checkout is measured as one more contender, and compared', async (t) => {
  const { code, stdout, stderr } = await runBench('--baseline', ROOT, '--paths', 'profile,webhook', ...QUICK)
  t.equal(code, 0, stderr)
  for (const path of ['profile', 'webhook']) {
    const [, table = ''] = stdout.split(`### ${path}, 8 connections\n`)
    t.match(table, /^\| baseline +\| +[\d,]+ \|/m)
    t.match(stdout, new RegExp(`^\\| ${path}, 8 connections +\\| +[\\d,]+ \\| +[\\d,]+ \\| +[\\d.]+ \\|`, 'm'))
  }
})

test('a baseline that is not built is refused', async (t) => {
  const { code, stderr } = await runBench('--baseline', join(ROOT, 'docs'))
  t.equal(code, 2)
  t.match(stderr, /--baseline: .* has no dist\/server\.js: build that checkout first/)
})

test('the start and the memory at rest are measured', async (t) => {
  const { code, stdout, stderr } = await runBench('--start', ...QUICK)
  t.equal(code, 0, stderr)
  for (const contender of ['service', 'recipe', 'bare'])
    t.match(stdout, new RegExp(`^\\| ${contender} +\\| +[\\d,]+ \\|`, 'm'))
  t.match(stdout, /^\| 100 MB \/ memory at rest \|/m)
})

test('each path has its latencies in an open loop and on many connections, and so have the kinds of the mix', async (t) => {
  const { code, stdout, stderr } = await runBench('--open-loop', ...QUICK)
  t.equal(code, 0, stderr)
  for (const path of ['profile', 'profile-cold', 'sync-user', 'sync-new', 'webhook', 'mix', 'mix: webhook']) {
    for (const load of ['open loop at 50 % of that', 'closed loop, 50 connections, 1 s']) {
      t.match(stdout, new RegExp(`^\\| ${path} +\\| +${load} \\| [^|]+ \\| +\\d`, 'm'), `${path}: ${load}`)
    }
  }
})

test('growth is measured at each size', async (t) => {
  const { code, stdout, stderr } = await runBench('--growth', '--paths', 'webhook', ...QUICK)
  t.equal(code, 0, stderr)
  t.match(stdout, /### service, webhook, 8 connections/)
  for (const stage of ['500 users', '1,000 users', 'and 1,000 ledger rows']) t.match(stdout, `| ${stage} `)
})

test('the auth plugin is measured against plain @fastify/jwt', async (t) => {
  const { code, stdout, stderr } = await runBench('--jwt', '--quick')
  t.equal(code, 0, stderr)
  t.match(stdout, /^\| auth plugin .* seen before \|/m)
  t.match(stdout, /^\| @fastify\/jwt .* new \|/m)
})

test('the backfill is measured, and every user arrives', async (t) => {
  const { code, stdout, stderr } = await runBench('--backfill', ...QUICK)
  t.equal(code, 0, stderr)
  t.match(stdout, /^\| 1,000 \| +0 \| +1 \| +[\d,]+ \|/m)
  t.match(stdout, /^\| 2,000 \| +5 \| +8 \| +[\d,]+ \|/m)
})

test('scrapes are measured under load, at each number of users', async (t) => {
  const { code, stdout, stderr } = await runBench('--scrape', ...QUICK)
  t.equal(code, 0, stderr)
  t.match(stdout, /^\| .* 500 users \| +1,000 users \|/m)
  for (const figure of ['CPU of the server, scrapes alone', 'CPU of the server under load, p50', 'PostgreSQL, p50']) {
    t.match(stdout, new RegExp(`^\\| ${figure} +\\| +\\d\\S* \\| +\\d`, 'm'), figure)
  }
})

test('a wrong option is told, with how to use it', async (t) => {
  const { code, stderr } = await runBench('--paths', 'nowhere')
  t.equal(code, 2)
  t.match(stderr, /--paths: nowhere is none of profile, .*\nnode bench\/index\.ts/)
})
