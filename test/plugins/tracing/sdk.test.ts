import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { test } from 'tap'
import { batchTracing, callChannel, statementTracing } from '../../../src/db/channels.ts'
import { signatureTracing, tokenTracing } from '../../../src/plugins/channels.ts'
import { startOtlpReceiver } from '../../helpers/otlp-receiver.ts'
import { freePorts } from '../../helpers/process.ts'
import { createProduction } from '../../helpers/production.ts'
import { startService } from '../../helpers/service.ts'
import { waitUntil } from '../../helpers/wait-until.ts'

const WARNING = 'traces could not be sent'
const linesOf = (output: string, message: string) =>
  output
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { msg: string; reason?: string })
    .filter(({ msg }) => msg === message)

test('a collector that is down or hangs does no harm, and is logged once', { timeout: 120_000 }, async (t) => {
  let connections = 0
  const sockets: Socket[] = []
  const hanging = createServer((socket) => {
    connections += 1
    sockets.push(socket.on('error', () => undefined))
  })
  await once(hanging.listen(0, '127.0.0.1'), 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    hanging.close()
  })
  const { port } = hanging.address() as { port: number }
  const collectors = { down: `http://127.0.0.1:${await freePorts()}`, hanging: `http://127.0.0.1:${port}` }
  const production = await createProduction(t)
  const { clerk } = production
  const ada = clerk.createUser({ email: 'ada@example.com' })
  const headers = { authorization: `Bearer ${clerk.sessionToken(clerk.signIn(ada.id).id)}` }

  for (const [how, endpoint] of Object.entries(collectors)) {
    const service = await production.start(undefined, [], {
      OTEL_EXPORTER_OTLP_ENDPOINT: endpoint,
      // Shorter than the SDK's first pause, so that it does not try again.
      OTEL_EXPORTER_OTLP_TIMEOUT: how === 'down' ? '700' : '10000',
      OTEL_BSP_SCHEDULE_DELAY: '5',
      OTEL_BSP_MAX_QUEUE_SIZE: '20',
      OTEL_BSP_MAX_EXPORT_BATCH_SIZE: '5',
    })
    const profile = async () => (await fetch(`${service.url}/api/auth/profile`, { headers })).status
    t.equal(await profile(), 200)
    if (how === 'down') await service.until(new RegExp(WARNING))
    else await waitUntil('it waits for the collector', async () => connections > 0)
    const statuses = new Set<number>()
    for (let i = 0; i < 50; i += 1) statuses.add(await profile())
    t.strictSame([...statuses], [200], `${how}: served`)
    service.child.kill('SIGTERM')
    t.equal(await service.exit, 0, `${how}: it ends before its deadline`)
    const warnings = linesOf(service.output(), WARNING).map(({ reason }) => reason)
    if (how === 'down') t.match(warnings, [/ECONNREFUSED/], 'with the reason')
    if (how === 'down') t.equal(warnings.length, 1, 'and no second time')
    else t.equal(linesOf(service.output(), 'the last traces could not be sent').length, 1)
  }
})

test("OpenTelemetry's own settings are used", async (t) => {
  const collector = await startOtlpReceiver(t)
  const production = await createProduction(t)
  const start = (env: Record<string, string>) =>
    production.start(undefined, [], { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, ...env })
  const off = await start({ OTEL_TRACES_SAMPLER: 'always_off' })
  t.equal((await fetch(`${off.url}/api/auth/profile`)).status, 401)
  off.child.kill('SIGTERM')
  t.equal(await off.exit, 0)
  t.strictSame(collector.spans, [])

  const named = await start({ OTEL_SERVICE_NAME: 'users', OTEL_TRACES_SAMPLER: 'sometimes' })
  t.equal((await fetch(`${named.url}/api/auth/profile`)).status, 401)
  named.child.kill('SIGTERM')
  t.equal(await named.exit, 0)
  t.match(collector.spans, [{ resource: { 'service.name': 'users' } }, {}])
  t.match(linesOf(named.output(), WARNING), [{ reason: /OTEL_TRACES_SAMPLER value "sometimes" invalid/ }])
})

test('without a collector OpenTelemetry is not loaded, except the API that prom-client needs', async (t) => {
  const collector = await startOtlpReceiver(t)
  const production = await createProduction(t)
  const hook = `import { registerHooks } from 'node:module'
    const urls = []
    registerHooks({ load: (url, context, next) => (urls.push('loaded ' + url), next(url, context)) })
    process.on('exit', () => console.error(urls.join('\\n')))`
  const args = ['--import', `data:text/javascript,${encodeURIComponent(hook)}`]
  const loaded = async (env: Record<string, string>) => {
    const service = await production.start(undefined, args, env)
    service.child.kill('SIGTERM')
    t.equal(await service.exit, 0)
    const urls = service.output().match(/^loaded .*/gm) ?? []
    t.ok(urls.length > 100, `${urls.length} modules`)
    return urls.filter((url) => /opentelemetry|@fastify\/otel|in-the-middle|plugins\/tracing/.test(url))
  }
  const without = await loaded({})
  t.strictSame(
    without.filter((url) => !url.includes('/node_modules/@opentelemetry/api/')),
    [],
  )
  const some = await loaded({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.url })
  t.ok(some.length > without.length + 50, 'it would be seen')
})

test('an app that is closed leaves nothing behind', async (t) => {
  const collector = await startOtlpReceiver(t)
  const settings = { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url }
  for (const times of [1, 2]) {
    const { app, call } = await startService(t, { settings })
    t.equal((await call('/api/auth/profile')).status, 401)
    await app.close()
    const requests = collector.spans.filter(({ kind }) => kind === 2)
    t.equal(requests.length, times)
    t.equal(collector.spans.length, 2 * times, 'each with one span of its token')
    const channels = [tokenTracing, signatureTracing, batchTracing, statementTracing, callChannel]
    t.notOk(
      channels.some(({ hasSubscribers }) => hasSubscribers),
      'nobody listens any more',
    )
  }
})
