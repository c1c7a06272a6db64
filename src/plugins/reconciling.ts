import fp from 'fastify-plugin'
import { type ListReport, type ReconcileReport, remainingDrift } from '../domain/drift.ts'
import { reconcile } from '../jobs/reconcile.ts'
import { checkOptions, optionsOf } from './check-options.ts'
import { type ClerkJobOptions, JOB_OPTIONS, repeat } from './clerk-job.ts'

export type ReconcilingOptions = ClerkJobOptions

const OPTIONS = optionsOf<ReconcilingOptions>(JOB_OPTIONS)

/** Reconciles with Clerk at every interval and repairs drift, so that a broken webhook endpoint is compensated and reported. */
export default fp<ReconcilingOptions>(
  async (app, options) => {
    checkOptions('reconciling', OPTIONS, options)
    repeat(
      app,
      'reconcile',
      options,
      async (tools) => {
        const ran = await reconcile({ ...tools, isFixing: true })
        if (ran.state === 'recent') {
          app.log.debug({ startedAt: ran.startedAt }, 'another replica has just reconciled')
        } else if (ran.state === 'done' && ran.report.isComplete) {
          logReport(ran.report, ran.silence)
        }
      },
      { startsAtOnce: true },
    )

    function logReport(report: ReconcileReport, silence: string[]): void {
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
      else app.log.warn(details, 'reconciled with Clerk: webhooks did not deliver everything')
    }
  },
  { name: 'clerk-reconciling', fastify: '5.x' },
)
