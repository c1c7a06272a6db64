import type { Config } from '../../config.ts'
import { type ChangesStatus, findChangesStatus } from '../../db/changes/status.ts'
import { findDatabaseSize } from '../../db/database-size.ts'
import type { LedgerSummary } from '../../db/ledger-summary.ts'
import { findLedgerTypes } from '../../db/ledger-types.ts'
import { findMigrationStatus } from '../../db/migration-status.ts'
import { describeDelay, describeUnrecorded } from '../../domain/feed-delay.ts'
import { type Context, withDatabase } from '../context.ts'
import { count, countOf, duration } from '../output.ts'
import { type Check, fail, guarded, pass, reasonOf, warn } from './check.ts'

const QUIET_HOURS = 24
const MEGABYTE = 1_048_576
const CROWDED = 0.8

/** Checks that the database is reachable and migrated, then its connections, tables, ledger and change feed. */
export async function checkDatabase(context: Context): Promise<Check[]> {
  const { DATABASE_URL, DATABASE_SCHEMA } = context.config
  const startedAt = performance.now()
  let pending: string[]
  try {
    const status = await findMigrationStatus(DATABASE_URL as string, DATABASE_SCHEMA)
    pending = status.filter(({ isApplied }) => !isApplied).map(({ name }) => name)
  } catch (error) {
    return [
      fail(
        'database',
        reasonOf(error),
        'check DATABASE_URL, and that PostgreSQL runs and accepts connections from this host',
      ),
    ]
  }
  const reachable = pass('database', `answers after ${Math.round(performance.now() - startedAt)} ms`)
  if (pending.length > 0) {
    return [reachable, fail('migrations', `not applied: ${pending.join(', ')}`, 'run clerk-session-sync migrate')]
  }
  const tables = () => checkTables(context)
  const remedy =
    'see its message; a pooler may refuse session settings of the service: try a DATABASE_URL without the pooler'
  return [reachable, pass('migrations', 'all applied'), ...(await guarded('tables', tables, remedy))]
}

async function checkTables(context: Context): Promise<Check[]> {
  return withDatabase(context, async ({ pool, repository }) => {
    const { connections, maxConnections, tables } = await findDatabaseSize(pool)
    const sizes = tables.map(
      ({ name, rows, bytes }) => `${name} ${countOf(rows, 'row')}, ${Math.ceil(bytes / MEGABYTE)} MB`,
    )
    return [
      checkCrowd(connections, maxConnections, context.config.DATABASE_POOL_MAX),
      pass('tables', sizes.join('; ')),
      ...checkLedger(await findLedgerTypes(pool), Date.now()),
      ...checkChanges(context.config, await findChangesStatus(pool)),
      ...checkSummary(await repository.ledgerSummary()),
    ]
  })
}

/** Whether enough connections are left for another replica. */
export function checkCrowd(connections: number, maxConnections: number, poolMax: number): Check {
  const crowd = `${connections} of ${maxConnections} in use; each replica uses up to ${poolMax} (DATABASE_POOL_MAX) and those of its jobs`
  return connections > maxConnections * CROWDED
    ? warn('connections', crowd, 'lower DATABASE_POOL_MAX, or raise max_connections')
    : pass('connections', crowd)
}

const checkSummary = (summary: LedgerSummary): Check[] => [checkForeign(summary), checkLost(summary)]

function checkLost({ lostToday }: LedgerSummary): Check {
  if (lostToday === 0) return pass('lost webhooks', 'none today')
  const remedy = 'in the Clerk Dashboard, Webhooks, check whether the endpoint is disabled or its deliveries fail'
  return warn('lost webhooks', `${count(lostToday)} today, repaired by the catch-up`, remedy)
}

function checkForeign({ foreign, foreignInstanceId }: LedgerSummary): Check {
  if (foreign === 0) return pass('foreign events', 'none in the last day')
  const remedy =
    "remove the other instance's secret from CLERK_WEBHOOK_SIGNING_SECRET, or remove its endpoint in the Clerk Dashboard, Webhooks"
  return warn(
    'foreign events',
    `${count(foreign)} of another Clerk instance (${foreignInstanceId}) in the last day`,
    remedy,
  )
}

function checkLedger(ledger: Awaited<ReturnType<typeof findLedgerTypes>>, nowMs: number): Check[] {
  const failed = ledger.reduce((sum, entry) => sum + entry.failed, 0)
  const last = Math.max(...ledger.map(({ lastReceivedAt }) => +lastReceivedAt))
  const hours = (nowMs - last) / 3_600_000
  const remedy = 'clerk-session-sync reconcile tells whether webhooks are missing'
  return [
    ledger.length === 0
      ? warn(
          'last webhook',
          'none has been received',
          'in the Clerk Dashboard, Webhooks, add the endpoint and send a test event',
        )
      : hours > QUIET_HOURS
        ? warn('last webhook', `${Math.floor(hours)} hours ago`, remedy)
        : pass('last webhook', new Date(last).toISOString()),
    failed > 0
      ? warn(
          'failed events',
          `${count(failed)} waiting for a replay`,
          'run clerk-session-sync replay --list, then replay',
        )
      : pass('failed events', 'none'),
  ]
}

const LATE_SECONDS = 60

function checkChanges(
  { CHANGES, CHANGES_TOKEN, CHANGES_WEBHOOK_URL }: Config,
  { consumers, unrecorded, delay }: ChangesStatus,
) {
  const checks: Check[] = []
  if (!CHANGES) {
    if (CHANGES_TOKEN || CHANGES_WEBHOOK_URL) {
      checks.push(warn('change feed', 'off, although CHANGES_TOKEN or CHANGES_WEBHOOK_URL is set', 'set CHANGES=true'))
    }
    return checks
  }
  if (unrecorded.length > 0) {
    const { what, remedy } = describeUnrecorded(unrecorded)
    checks.push(fail('change feed', what, remedy))
  }
  if (delay) {
    const { what, remedy } = describeDelay(delay)
    checks.push(warn('change feed', what, remedy))
  }
  for (const { name, dead, behind, lagSeconds, waiting } of consumers) {
    if (dead > 0) {
      checks.push(
        warn(
          'change feed',
          `given up for ${name}: ${countOf(dead, 'change')}`,
          'run clerk-session-sync changes status, then replay --changes',
        ),
      )
    }
    if (behind > 0 && lagSeconds > LATE_SECONDS && !delay) {
      const remedy = 'check that a replica with this consumer runs, and see its log'
      checks.push(
        warn('change feed', `${name} is ${countOf(behind, 'change')} and ${duration(lagSeconds)} behind`, remedy),
      )
    }
    if (waiting > 0) {
      const remedy = 'they are retried automatically; the log tells why they failed'
      checks.push(warn('change feed', `waiting for ${name}: ${countOf(waiting, 'change')}`, remedy))
    }
  }
  return checks.length > 0 ? checks : [pass('change feed', `on, ${countOf(consumers.length, 'consumer')}`)]
}
