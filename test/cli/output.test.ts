import { createServer } from 'node:http'
import { test } from 'tap'
import { checkCrowd } from '../../src/cli/doctor/database.ts'
import { checkService } from '../../src/cli/doctor/service.ts'
import { checkSettings } from '../../src/cli/doctor/settings.ts'
import { explainFailure } from '../../src/cli/failure.ts'
import { bar, createOutput, duration } from '../../src/cli/output.ts'
import type { Config } from '../../src/config.ts'
import { explainSilence } from '../../src/domain/silence.ts'

function record({ isTTY = false, columns = 0, isJson = false, intervalMs = 60_000 } = {}) {
  const written = { stdout: '', stderr: '' }
  const to = (name: 'stdout' | 'stderr') => (text: string | Uint8Array) => {
    written[name] += text
    return true
  }
  const output = createOutput({
    isJson,
    stdout: { write: to('stdout') },
    stderr: { write: to('stderr'), isTTY, columns },
    intervalMs,
  })
  return { written, output }
}

test('on a terminal progress is one line that changes, and makes room for others', async (t) => {
  const { written, output } = record({ isTTY: true, columns: 10 })
  output.progress('one')
  output.progress('two is too long')
  output.note('note')
  output.progress('three')
  output.result({}, ['done'])
  t.equal(written.stderr, '\r\x1b[2Kone\r\x1b[2Ktwo is to\r\x1b[2Knote\n\r\x1b[2Kthree\r\x1b[2K')
  t.equal(written.stdout, 'done\n')
  const wide = record({ isTTY: true })
  wide.output.progress('x'.repeat(100))
  t.equal(wide.written.stderr.length, '\r\x1b[2K'.length + 79)
})

test('without a terminal, progress is an occasional line on stderr, and only the result goes to stdout', async (t) => {
  const { written, output } = record({ isJson: true })
  output.progress('one')
  output.progress('two')
  output.result({ a: 1 }, ['text'])
  t.same(written, { stdout: '{\n  "a": 1\n}\n', stderr: 'one\n' })
  const json = record({ isJson: true, isTTY: true })
  json.output.progress('1 of 2', { users: 1, total: 2 })
  t.equal(json.written.stderr, '{"progress":{"users":1,"total":2}}\n', 'for a program, on a terminal too')
})

test('numbers have separators', async (t) => {
  t.equal(bar(1_000, 4_000), '█████░░░░░░░░░░░░░░░ 25 %  1,000 of 4,000')
  t.equal(bar(0, 0), '░░░░░░░░░░░░░░░░░░░░ 0 %  0 of 0')
  t.strictSame([0.2, 61, 3_725].map(duration), ['1 s', '1 min 1 s', '1 h 2 min'])
})

test('a failure message contains the cause', async (t) => {
  const refused = Object.assign(new AggregateError([]), { code: 'ECONNREFUSED' })
  t.equal(explainFailure(new Error('unavailable', { cause: refused })), 'clerk-session-sync: ECONNREFUSED')
  t.match(explainFailure(Object.assign(new Error('no schema'), { code: '3F000' })), /is not migrated/)
})

test('a live key in development, and a test key in production, are reported', async (t) => {
  const check = (settings: Partial<Config>) =>
    checkSettings({
      CLERK_WEBHOOK_SIGNING_SECRET: [],
      CLERK_AUTHORIZED_PARTIES: [],
      ...settings,
    } as never as Config).find(({ name }) => name === 'secret key')
  t.match(check({ CLERK_SECRET_KEY: 'sk_test_x', isProduction: true }), { status: 'warn', detail: /in production/ })
  const CLERK_ISSUER = 'https://x.clerk.accounts.dev'
  t.match(check({ CLERK_SECRET_KEY: 'sk_live_x', CLERK_ISSUER }), { status: 'warn', detail: /issuer of a development/ })
  t.strictSame(check({ CLERK_SECRET_KEY: 'sk_live_x' }), {
    name: 'secret key',
    status: 'pass',
    detail: 'of a production instance',
  })
})

test('a nearly exhausted connection limit is a warning', async (t) => {
  t.match(checkCrowd(90, 100, 10), { status: 'warn', detail: /^90 of 100 in use; each replica uses up to 10 / })
  t.match(checkCrowd(80, 100, 10), { status: 'pass' })
})

test('failed events are a separate finding', async (t) => {
  const at = new Date()
  const ledger = [{ type: 'user.created', messages: 2, failed: 1, firstReceivedAt: at, lastReceivedAt: at }]
  const found = '1 events failed: see `clerk-session-sync replay --list`'
  t.strictSame(explainSilence(ledger, { created: 0, updated: 0, deleted: 0 }), [found])
  t.strictSame(explainSilence([], { created: 0, updated: 0, deleted: 0 }), [])
  const [first, second, ...others] = explainSilence(ledger, { created: 0, updated: 0, deleted: 1 })
  t.strictSame([first, others], [found, []])
  t.match(second, /^user.deleted were not received recently/)
})

test('a service that is ready but interrupts deliveries is reported', async (t) => {
  const server = createServer((request, response) => {
    if (request.url === '/readyz') response.end('{"status":"ok","checks":{"database":{"status":"ok"}}}')
    else if (request.headers['svix-id']) response.socket?.destroy()
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  t.teardown(() => server.close())
  const { port } = server.address() as { port: number }
  const config = { CLERK_WEBHOOK_SIGNING_SECRET: [`whsec_${Buffer.from('a secret').toString('base64')}`] }
  const checks = await checkService(config as never as Config, `http://127.0.0.1:${port}`)
  t.equal(checks.length, 2)
  t.match(checks, [
    { name: 'service', status: 'pass' },
    { name: 'webhook delivery', status: 'fail', remedy: /log of the service/ },
  ])
})

test('control characters in names are escaped, in text, progress and JSON', (t) => {
  const name = 'Eve\u001b[2J\r\nok\u009b1m\u202e\u2028'
  const shown = String.raw`Eve\u001b[2J\u000d\u000aok\u009b1m\u202e\u2028`
  const text = record({ isTTY: true, columns: 200 })
  text.output.note(name)
  text.output.line({}, name)
  text.output.result({}, [name, 'next'])
  text.output.progress(name)
  t.equal(text.written.stdout, `${shown}\n${shown}\nnext\n`)
  t.equal(text.written.stderr, `${shown}\n\r\x1b[2K${shown}`)
  const json = record({ isJson: true })
  json.output.line({ name }, '')
  json.output.result({ name }, [])
  t.notMatch(json.written.stdout, /[^\n\x20-\x7e]/)
  t.strictSame(JSON.parse(json.written.stdout.split('\n')[0] as string), { name })
  t.strictSame(JSON.parse(json.written.stdout.slice(json.written.stdout.indexOf('\n'))), { name })
  t.end()
})
