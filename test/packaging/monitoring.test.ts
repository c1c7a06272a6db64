import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { type Test, test } from 'tap'
import { parse } from 'yaml'
import { PUSH_SECRET, startChangeReceiver } from '../helpers/change-receiver.ts'
import { promtool } from '../helpers/promtool.ts'
import { startService } from '../helpers/service.ts'
import { waitUntil } from '../helpers/wait-until.ts'
import { ROOT, read } from './markdown.ts'

const PROMETHEUS = 'monitoring/prometheus'
const GRAFANA = 'monitoring/grafana'
const alertsFile = join(ROOT, PROMETHEUS, 'alerts.yml')

interface Panel {
  id: number
  type: string
  title: string
  gridPos: { x: number; y: number; w: number; h: number }
  datasource?: { uid: string }
  targets?: { expr: string; datasource: { uid: string } }[]
}
interface Rule {
  alert: string
  expr: string
  for: string
  labels: { severity: string }
  annotations: { summary: string; description: string }
}
const rules = parse(read(`${PROMETHEUS}/alerts.yml`)).groups[0].rules as Rule[]
const prometheus = parse(read(`${PROMETHEUS}/prometheus.yml`))
const dashboard = JSON.parse(read(`${GRAFANA}/dashboards/clerk-session-sync.json`)) as { panels: Panel[]; uid: string }
const drawn = dashboard.panels.filter(({ type }) => type !== 'row')
// What Grafana puts in its place.
const queries = drawn.flatMap(({ targets = [] }) =>
  targets.map(({ expr }) => expr.replaceAll('$__rate_interval', '5m')),
)

test('Prometheus accepts its configuration and the alert rules', async (t) => {
  const config = promtool(['check', 'config', '--lint=all', '--lint-fatal', join(ROOT, PROMETHEUS, 'prometheus.yml')])
  t.equal(config.status, 0, config.output)
  const checked = promtool(['check', 'rules', '--lint=all', '--lint-fatal', alertsFile])
  t.equal(checked.status, 0, checked.output)
  t.match(checked.output, `${rules.length} rules found`)
  for (const { alert, labels, annotations } of rules) {
    t.match(labels.severity, /^(critical|warning)$/, alert)
    t.ok(annotations.summary && annotations.description, `${alert} says what is wrong and what to do`)
  }
})

test('each alert fires when it should, and only then', async (t) => {
  const { status, output } = promtool(['test', 'rules', join(ROOT, PROMETHEUS, 'alerts.test.yml')])
  t.equal(status, 0, output)
  const { tests } = parse(read(`${PROMETHEUS}/alerts.test.yml`)) as {
    tests: { alert_rule_test: { alertname: string; exp_alerts: unknown[] }[] }[]
  }
  const checks = tests.flatMap((group) => group.alert_rule_test)
  for (const { alert } of rules) {
    const own = checks.filter(({ alertname }) => alertname === alert)
    t.ok(
      own.some(({ exp_alerts }) => exp_alerts.length > 0),
      `${alert} is seen to fire`,
    )
    t.ok(
      own.some(({ exp_alerts }) => exp_alerts.length === 0),
      `${alert} is seen to be quiet`,
    )
  }
  t.equal(new Set(checks.map(({ alertname }) => alertname)).size, rules.length, 'no other is named')
})

test('a real scrape is valid, and has every metric that rules and dashboard use', async (t) => {
  const scrape = await scrapeBusyService(t)
  const { status, output } = promtool(['check', 'metrics'], scrape)
  t.equal(status, 0, output)
  t.equal(output, '')

  const series = [...scrape.matchAll(/^([a-z0-9_]+)(?:\{(.*)\})? /gm)]
  const labelsOf = new Map<string, Set<string>>()
  for (const [, name = '', labels = ''] of series) {
    // Prometheus adds these two.
    const known = labelsOf.get(name) ?? new Set(['job', 'instance'])
    for (const [, label = ''] of labels.matchAll(/([a-z_]+)="/g)) known.add(label)
    labelsOf.set(name, known)
  }
  const asked = [...rules.map(({ expr }) => expr), ...queries].flatMap((expr) => [
    ...expr.matchAll(/\b((?:clerk_session_sync|process|nodejs)_[a-z0-9_]+)(?:\{([^}]*)\})?/g),
  ])
  t.ok(asked.length > 40, 'the queries are read')
  for (const [, name = '', matchers = ''] of asked) {
    t.ok(labelsOf.has(name), name)
    for (const [, label = ''] of matchers.matchAll(/([a-z_]+)[=!]/g)) t.ok(labelsOf.get(name)?.has(label), label)
  }
})

test('every query of the dashboard is valid, its panels do not overlap, and they use its data source', async (t) => {
  const recorded = queries.map((expr, at) => ({ record: `query:${at}`, expr }))
  t.ok(recorded.length > 25)
  const file = join(
    t.testdir({ 'queries.yml': JSON.stringify({ groups: [{ name: 'q', rules: recorded }] }) }),
    'queries.yml',
  )
  const { status, output } = promtool(['check', 'rules', file])
  t.equal(status, 0, output)

  const { datasources } = parse(read(`${GRAFANA}/datasources/prometheus.yml`))
  const { panels } = dashboard
  t.equal(new Set(panels.map(({ id }) => id)).size, panels.length)
  for (const { title, datasource, targets = [] } of drawn) {
    t.ok(targets.length > 0, title)
    for (const source of [datasource, ...targets.map((target) => target.datasource)]) {
      t.equal(source?.uid, datasources[0].uid, title)
    }
  }
  const cells = panels.flatMap(({ gridPos: { x, y, w, h } }) =>
    Array.from({ length: w * h }, (_, at) => `${x + (at % w)},${y + Math.floor(at / w)}`),
  )
  t.equal(new Set(cells).size, cells.length, 'no two panels share a cell')
  t.ok(panels.every(({ gridPos: { x, w } }) => x + w <= 24))
})

test('the compose profile finds the service and its files, and is published on loopback only', async (t) => {
  const { services, volumes } = parse(read('docker-compose.yml'))
  const [job] = prometheus.scrape_configs
  t.equal(prometheus.scrape_configs.length, 1)
  t.equal(String(job.dns_sd_configs[0].port), services.service.environment.METRICS_PORT)
  t.ok(job.dns_sd_configs[0].names.every((name: string) => name in services))
  for (const { expr } of rules) {
    for (const [, name] of expr.matchAll(/job="([^"]+)"/g)) t.equal(name, job.job_name)
  }
  t.notMatch(services.service.ports.join(), services.service.environment.METRICS_PORT, 'the metrics stay inside')

  for (const name of ['prometheus', 'grafana']) {
    const { profiles, ports, image, user, healthcheck, volumes: mounts } = services[name]
    t.strictSame(profiles, ['monitoring'], `${name} starts only when it is asked for`)
    t.match(image, /^[a-z]+\/[a-z]+:v?\d+\.\d+\.\d+$/, 'pinned')
    t.ok(Number(user.split(':')[0]) > 0, 'not root')
    t.ok(ports.every((port: string) => port.startsWith('127.0.0.1:')))
    t.equal(healthcheck.test[0], 'CMD')
    for (const [source = '', target, mode] of mounts.map((mount: string) => mount.split(':'))) {
      if (!source.startsWith('./')) t.ok(source in volumes, `${source} is a named volume`)
      else t.ok(existsSync(join(ROOT, source)) && mode === 'ro', `${source} at ${target}`)
    }
  }
  const mounted = Object.fromEntries(
    ['prometheus', 'grafana'].flatMap((name) => services[name].volumes.map((mount: string) => mount.split(':'))),
  )
  t.equal(services.prometheus.command[0], `--config.file=${mounted['./monitoring/prometheus']}/prometheus.yml`)
  t.ok(readdirSync(join(ROOT, PROMETHEUS)).includes(prometheus.rule_files[0]))
  t.ok(Object.values(mounted).includes(services.prometheus.command[1].split('=')[1]), 'the data are in the volume')

  const { environment, depends_on } = services.grafana
  const [source] = parse(read(`${GRAFANA}/datasources/prometheus.yml`)).datasources
  t.equal(source.url, `http://${Object.keys(depends_on)[0]}:9090`)
  const [provider] = parse(read(`${GRAFANA}/dashboards/provider.yml`)).providers
  t.equal(provider.options.path, `${mounted['./monitoring/grafana']}/dashboards`)
  t.equal(environment.GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH, `${provider.options.path}/${dashboard.uid}.json`)
  t.equal(environment.GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION, 'true', 'there is no admin/admin')
  t.equal(environment.GF_AUTH_ANONYMOUS_ORG_ROLE, 'Viewer')
})

/** What a service tells that has had every kind of traffic. */
async function scrapeBusyService(t: Test): Promise<string> {
  const receiver = await startChangeReceiver(t)
  const { call, clerk } = await startService(t, {
    settings: { CHANGES: 'true', CHANGES_WEBHOOK_URL: receiver.url, CHANGES_WEBHOOK_SECRET: PUSH_SECRET },
  })
  const ada = clerk.createUser({ email: 'ada@example.com' })
  const token = clerk.sessionToken(clerk.signIn(ada.id).id)
  await clerk.webhooks.idle()
  await call('/api/auth/sync-user', { method: 'POST', token })
  await call('/api/auth/profile')
  await waitUntil('a change', async () => receiver.received.length > 0)
  await call('/clerk', { method: 'POST' })
  const { body } = await call('/metrics')
  return body
}
