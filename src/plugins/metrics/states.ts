/** The metrics of current states, which are read at each scrape. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import { Counter, Gauge, type Registry } from 'prom-client'
import type { KeysStatus } from '../auth.ts'

const FRESH_MS = 5_000
// The longest that a scrape waits for the database; it then serves the previous values, or none.
const PATIENCE_MS = 200

/** Adds the gauges of keys, pool and tables. Returns a function that updates them, to be called before each scrape. */
export function watchStates(app: FastifyInstance, registry: Registry, version: string): () => Promise<void> {
  const build = gauge(registry, 'build_info', 'Always 1; the labels hold the versions.', ['version', 'node'])
  build.set({ version, node: process.version }, 1)
  const connections = gauge(registry, 'database_pool_connections', 'Connections to PostgreSQL.', ['state'])
  const waiting = gauge(registry, 'database_pool_waiting', 'Callers that wait for a connection.')
  const tables = {
    users: gauge(registry, 'users', 'Rows of users, including deleted users; estimated above 1,000.'),
    sessions: gauge(registry, 'sessions', 'Rows of sessions; estimated above 1,000.'),
    organizations: gauge(registry, 'organizations', 'Rows of organizations; estimated above 1,000.'),
    memberships: gauge(
      registry,
      'organization_memberships',
      'Rows of memberships, including ended ones; estimated above 1,000.',
    ),
    failedEvents: gauge(registry, 'webhook_failed_events', 'Failed events waiting for a replay; counted up to 1,000.'),
    lastReceivedAt: gauge(
      registry,
      'webhook_last_received_timestamp_seconds',
      'Unix time at which any replica received the newest webhook.',
    ),
  }
  const setKeys = watchKeys(app.clerkKeysStatus(), registry)
  const findStatistics = latest(() => app.clerkRepository.tableStatistics())

  const setChanges = watchChanges(app, registry)

  return async () => {
    await setChanges()
    setKeys(app.clerkKeysStatus())
    const pool = app.clerkDatabasePool()
    connections.set({ state: 'in_use' }, pool.total - pool.idle)
    connections.set({ state: 'idle' }, pool.idle)
    waiting.set(pool.waiting)
    const statistics = await findStatistics()
    for (const name of Object.keys(tables) as (keyof typeof tables)[]) setOrRemove(tables[name], statistics?.[name])
  }
}

/** The gauges of the change feed; they have no value while it is off. */
function watchChanges(app: FastifyInstance, registry: Registry): () => Promise<void> {
  const consumer = ['consumer']
  const gauges = {
    behind: gauge(
      registry,
      'changes_behind',
      'Changes that a consumer has not received; counted up to 10,000.',
      consumer,
    ),
    lagSeconds: gauge(
      registry,
      'changes_lag_seconds',
      'Age of the oldest change that a consumer has not received.',
      consumer,
    ),
    waiting: gauge(
      registry,
      'changes_waiting',
      'Deliveries that are being retried, or wait behind one that is.',
      consumer,
    ),
    dead: gauge(registry, 'changes_dead_letters', 'Deliveries that were given up.', consumer),
  }
  const delay = gauge(
    registry,
    'changes_delaying_transaction_seconds',
    'Age of an open transaction that delays later changes, if it is at least a minute.',
  )
  const findStatus = latest(() => app.clerkChangesStatus())
  return async () => {
    if (!app.hasPlugin('clerk-changes')) return
    const status = await findStatus()
    for (const metric of Object.values(gauges)) metric.reset()
    for (const { name, ...values } of status?.consumers ?? []) {
      for (const key of Object.keys(gauges) as (keyof typeof gauges)[]) gauges[key].set({ consumer: name }, values[key])
    }
    setOrRemove(delay, status && (status.delay?.ageSeconds ?? 0))
  }
}

const gauge = (registry: Registry, name: string, help: string, labelNames: string[] = []) =>
  new Gauge({ name: `clerk_session_sync_${name}`, help, labelNames, registers: [registry] })

const counter = (registry: Registry, name: string, help: string) =>
  new Counter({ name: `clerk_session_sync_${name}`, help, registers: [registry] })

// A missing value is better than a wrong 0.
function setOrRemove(metric: Gauge, value: number | null | undefined): void {
  if (value == null) metric.remove()
  else metric.set(value)
}

function watchKeys(initial: KeysStatus, registry: Registry): (status: KeysStatus) => void {
  if (!initial) return () => undefined // A fixed key is never fetched.
  const age = gauge(registry, 'jwks_age_seconds', "Seconds since Clerk's signing keys were last fetched.")
  const keys = gauge(registry, 'jwks_keys', 'Signing keys in use.')
  const fetches = counter(registry, 'jwks_fetches_total', "Fetches of Clerk's signing keys, including failed ones.")
  const failures = counter(registry, 'jwks_fetch_failures_total', "Failed fetches of Clerk's signing keys.")
  const before = { fetches: 0, failures: 0 }
  return (status) => {
    const now = status as NonNullable<KeysStatus>
    keys.set(now.keyCount)
    setOrRemove(age, now.ageMs === null ? null : now.ageMs / 1000)
    fetches.inc(now.fetches - before.fetches)
    failures.inc(now.failures - before.failures)
    Object.assign(before, { fetches: now.fetches, failures: now.failures })
  }
}

/** The newest answer of `ask`, renewed when it is no longer fresh. If that takes too long, the previous answer. */
function latest<T>(ask: () => Promise<T>): () => Promise<T | undefined> {
  let answer: T | undefined
  let askedAt = Number.NEGATIVE_INFINITY
  let underWay: Promise<void> | undefined
  async function refresh(): Promise<void> {
    try {
      answer = await ask()
    } catch {
      answer = undefined // Health and the log report why.
    }
    underWay = undefined
  }
  return async () => {
    // Only the first scrape waits for an answer that does not come.
    if (underWay || performance.now() - askedAt < FRESH_MS) return answer
    askedAt = performance.now()
    underWay = refresh()
    await Promise.race([underWay, sleep(PATIENCE_MS, undefined, { ref: false })])
    return answer
  }
}
