import { type Test, test } from 'tap'
import { type Service, type ServiceOptions, startService } from '../helpers/service.ts'
import { waitUntil } from '../helpers/wait-until.ts'

/** A service that reconciles at the start, and then as often as it is told. */
async function start(t: Test, intervalMs: number, options: Pick<ServiceOptions, 'beside' | 'onEmulator'> = {}) {
  const lines: string[] = []
  const service = await startService(t, {
    settings: { RECONCILE_INTERVAL_MINUTES: '1' },
    change: (all) => ({ ...all, reconciling: all.reconciling && { ...all.reconciling, intervalMs } }),
    log: (line) => lines.push(line),
    ...options,
  })
  const told = (text: string) => lines.filter((line) => line.includes(text)).length
  const until = (text: string, times = 1) => waitUntil(text, async () => told(text) >= times)
  return { ...service, lines, told, until }
}

const HOUR = 3_600_000

test('undelivered changes are repaired, and reported', async (t) => {
  const onEmulator: ServiceOptions['onEmulator'] = (clerk) => void clerk.createUser({ email: 'ada@example.com' })
  const { database, until, lines } = await start(t, HOUR, { onEmulator })
  await until('webhooks did not deliver everything')
  t.strictSame(await database.query('select email from users'), [{ email: 'ada@example.com' }])
  const line = JSON.parse(lines.find((text) => text.includes('webhooks did not')) as string)
  const { level, checked, drift, remaining, silence } = line
  t.strictSame(
    { level, checked, drift, remaining },
    { level: 40, checked: 1, drift: { missing: 1, stale: 0, newer: 0, gone: 0 }, remaining: 0 },
  )
  t.equal(silence.length, 1)
  t.match(silence[0], /^no webhook has been received/)
  t.strictSame(
    await database.query(`select job, state -> 'checked' as checked from sync_state where job = 'reconcile'`),
    [{ job: 'reconcile', checked: 1 }],
  )
})

test('the reconcile repeats at each interval; without drift it logs quietly', async (t) => {
  const { until, clerk, told } = await start(t, 50)
  await until('no drift', 2)
  clerk.faults.api = { status: 401, body: '{}' }
  await until('the reconcile with Clerk failed')
  clerk.faults.api = undefined
  const before = told('no drift')
  await until('no drift', before + 1)
})

test('a connection that breaks between two runs is only logged', async (t) => {
  const { until, database, told } = await start(t, HOUR)
  await until('no drift')
  await database.query(`select pg_terminate_backend(pid) from pg_stat_activity
    where application_name = 'clerk-session-sync reconcile' and datname = current_database()`)
  await until('a database connection of the reconcile broke')
  t.equal(told('failed'), 0)
})

test('only one of two replicas reconciles', async (t) => {
  const first = await start(t, HOUR)
  await first.until('no drift')
  const { clerk } = first
  const lists = clerk.stats.apiRequestsByPath['GET /v1/users']
  const second = await start(t, HOUR, { beside: first as Service })
  await second.until('another replica has just reconciled')
  t.equal(clerk.stats.apiRequestsByPath['GET /v1/users'], lists)
})

test('a service that stops during a reconcile stops at once', async (t) => {
  const { clerk, app, database, told } = await start(t, HOUR, {
    onEmulator: (emulator) => {
      emulator.faults.api = 'hang'
    },
  })
  await waitUntil('a request', async () => clerk.stats.apiRequests > 0)
  await app.close()
  t.equal(told('failed'), 0)
  t.strictSame(await database.query('select 1 from sync_state'), [])
})

test('without the setting or a secret key, it never calls Clerk', async (t) => {
  for (const options of [{}, { settings: { RECONCILE_INTERVAL_MINUTES: '1' }, hasSecretKey: false }]) {
    const { app } = await startService(t, options)
    t.notMatch(app.printPlugins(), 'clerk-reconciling')
  }
  const { app } = await startService(t, { settings: { RECONCILE_INTERVAL_MINUTES: '1' } })
  t.match(app.printPlugins(), 'clerk-reconciling')
})
