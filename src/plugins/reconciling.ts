import fp from 'fastify-plugin'
import { type BulkApiOptions, createBulkApi } from '../clerk/bulk-api.ts'
import { reconcile } from '../clerk/reconcile.ts'
import { withLease } from '../db/lease.ts'
import { findLedgerTypes, findOldestMessage } from '../db/ledger-types.ts'
import { createPool } from '../db/pool.ts'
import { createReconcileStore } from '../db/reconcile-store.ts'
import { createRepository } from '../db/repository.ts'
import { findState, saveState } from '../db/sync-state.ts'
import { type ReconcileReport, remainingDrift } from '../domain/drift.ts'
import { expectedSince, explainSilence } from '../domain/silence.ts'
import type { DatabaseOptions } from './database.ts'

export interface ReconcilingOptions {
  database: DatabaseOptions
  backendApi: Pick<BulkApiOptions, 'secretKey' | 'apiUrl'>
  intervalMs: number
}

const JOB = 'reconcile'
const STATEMENT_TIMEOUT_MS = 60_000
// Timers drift: a run that is due in a moment is due.
const ALMOST = 0.9

/**
 * Reconciles with Clerk at every interval and repairs what it finds, so that a dead webhook endpoint heals and is reported.
 * Of several replicas one does it, on connections of its own: it takes none from requests.
 */
export default fp<ReconcilingOptions>(
  async (app, { database, backendApi, intervalMs }) => {
    const stop = new AbortController()
    const pool = createPool({
      connectionString: database.connectionString,
      schema: database.schema,
      transactionPooling: database.transactionPooling,
      max: 2,
      applicationName: 'clerk-session-sync reconcile',
      statementTimeoutMs: STATEMENT_TIMEOUT_MS,
      queryTimeoutMs: STATEMENT_TIMEOUT_MS + 5_000,
      onError: (error) => app.log.warn({ err: error }, 'a database connection of the reconcile broke'),
    })
    const repository = createRepository({ pool })
    let timer: NodeJS.Timeout | undefined
    let underWay: Promise<unknown> | undefined

    async function run(): Promise<void> {
      await withLease(pool, JOB, whenAlone)
    }

    async function whenAlone(): Promise<void> {
      const last = await findState<ReconcileReport>(pool, JOB)
      if (last && Date.now() - Date.parse(last.startedAt) < intervalMs * ALMOST) {
        app.log.debug({ startedAt: last.startedAt }, 'another replica has just reconciled')
        return
      }
      const ledger = await findLedgerTypes(pool)
      const report = await reconcile({
        api: createBulkApi({ ...backendApi, signal: stop.signal }),
        store: await createReconcileStore(pool, repository),
        signal: stop.signal,
        isFixing: true,
        expectedSince: expectedSince(await findOldestMessage(pool), Date.now()),
      })
      if (!report.isComplete) return
      await saveState(pool, JOB, report)
      tell(report, explainSilence(ledger, report.undelivered))
    }

    function tell(report: ReconcileReport, silence: string[]): void {
      const { checked, drift, deletionsWithheld, undelivered } = report
      const counts = Object.fromEntries(Object.entries(drift).map(([kind, { count }]) => [kind, count]))
      const details = {
        checked,
        drift: counts,
        remaining: remainingDrift(report),
        deletionsWithheld,
        undelivered,
        silence,
      }
      const isQuiet = Object.values(drift).every(({ count }) => count === 0) && silence.length === 0
      if (isQuiet) app.log.info(details, 'reconciled with Clerk: no drift')
      else app.log.warn(details, 'reconciled with Clerk: webhooks did not bring everything')
    }

    const start = () => {
      underWay ??= run()
        .catch((error) => {
          if (!stop.signal.aborted) app.log.warn({ err: error }, 'the reconcile with Clerk failed')
        })
        .finally(() => {
          underWay = undefined
        })
    }
    app.addHook('onReady', async () => {
      start()
      timer = setInterval(start, intervalMs).unref()
    })
    app.addHook('onClose', async () => {
      clearInterval(timer)
      stop.abort()
      await underWay
      await pool.end()
    })
  },
  { name: 'clerk-reconciling', fastify: '5.x' },
)
