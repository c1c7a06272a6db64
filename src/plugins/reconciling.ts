import fp from 'fastify-plugin'
import { type BackendApiOptions, createBackendApi } from '../clerk/backend-api.ts'
import type { Executor } from '../db/statement.ts'
import { type ReconcileReport, remainingDrift } from '../domain/drift.ts'
import type { ListReport } from '../domain/organization-drift.ts'
import { createJobDatabase } from '../jobs/database.ts'
import { checkIdentity } from '../jobs/identity.ts'
import { reconcile } from '../jobs/reconcile.ts'
import type { DatabaseOptions } from './database.ts'

export interface ReconcilingOptions {
  database: DatabaseOptions
  backendApi: Pick<BackendApiOptions, 'secretKey' | 'apiUrl' | 'dispatcher'>
  /** Whose keys those of the secret key's instance must meet. */
  issuer?: string
  jwtKey?: string
  intervalMs: number
}

// Timers drift: a run that is due in a moment is due.
const ALMOST = 0.9

/**
 * Reconciles with Clerk at every interval and repairs what it finds, so that a dead webhook endpoint heals and is reported.
 * Of several replicas one does it, on connections of its own: it takes none from requests.
 */
export default fp<ReconcilingOptions>(
  async (
    app,
    {
      database: { connectionString, schema, transactionPooling, syncMetadata, onChange },
      backendApi,
      issuer,
      jwtKey,
      intervalMs,
    },
  ) => {
    const stop = new AbortController()
    const { signal } = stop
    const database = createJobDatabase({
      connectionString,
      schema,
      transactionPooling,
      onChange,
      syncMetadata,
      max: 2,
      applicationName: 'clerk-session-sync reconcile',
      onError: (error) => app.log.warn({ err: error }, 'a database connection of the reconcile broke'),
    })
    const api = createBackendApi({ ...backendApi, signal })
    const compareIdentity = (executor: Executor) => checkIdentity({ api, executor, issuer, jwtKey })
    let timer: NodeJS.Timeout | undefined
    let underWay: Promise<unknown> | undefined

    async function run(): Promise<void> {
      const ran = await reconcile({
        database,
        api,
        signal,
        checkIdentity: compareIdentity,
        isFixing: true,
        notWithinMs: intervalMs * ALMOST,
      })
      if (ran.state === 'recent') {
        app.log.debug({ startedAt: ran.startedAt }, 'another replica has just reconciled')
      } else if (ran.state === 'done' && ran.report.isComplete) {
        tell(ran.report, ran.silence)
      }
    }

    function tell(report: ReconcileReport, silence: string[]): void {
      const { checked, drift, failures, deletionsWithheld, undelivered } = report
      const counts = Object.fromEntries(Object.entries(drift).map(([kind, { count }]) => [kind, count]))
      const details = {
        checked,
        drift: counts,
        remaining: remainingDrift(report),
        failures,
        deletionsWithheld,
        undelivered,
        organizations: Object.fromEntries(
          Object.entries(report.organizations).map(([kind, { checked, missing, stale, gone }]) => [
            kind,
            { checked, missing: missing.count, stale: stale.count, gone: gone.count },
          ]),
        ),
        silence,
      }
      const lists = Object.values(report.organizations) as ListReport[]
      const drifts = [...Object.values(drift), ...lists.flatMap(({ missing, stale, gone }) => [missing, stale, gone])]
      const isQuiet = drifts.every(({ count }) => count === 0) && silence.length === 0
      if (isQuiet) app.log.info(details, 'reconciled with Clerk: no drift')
      else app.log.warn(details, 'reconciled with Clerk: webhooks did not bring everything')
    }

    const start = () => {
      underWay ??= run()
        .catch((error) => {
          if (!signal.aborted) app.log.warn({ err: error }, 'the reconcile with Clerk failed')
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
      await database.end()
    })
  },
  { name: 'clerk-reconciling', fastify: '5.x' },
)
