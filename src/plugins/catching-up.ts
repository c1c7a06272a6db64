import { Type } from '@sinclair/typebox'
import fp from 'fastify-plugin'
import { type CatchUpReport, catchUp } from '../jobs/catch-up.ts'
import { catchUpChannel, publish } from './channels.ts'
import { checkOptions, optional, optionsOf } from './check-options.ts'
import { type ClerkJobOptions, JOB_OPTIONS, repeat } from './clerk-job.ts'

export interface CatchingUpOptions extends ClerkJobOptions {
  /** How long a webhook may be in transit before it counts as lost; default a minute. */
  transitMs?: number
}

const OPTIONS = optionsOf<CatchingUpOptions>({
  ...JOB_OPTIONS,
  transitMs: optional(Type.Number({ description: 'a number' })),
})

/**
 * Asks Clerk at every interval what changed last, so that a lost webhook is repaired within two intervals, and a service
 * without a public URL has a working sync.
 */
export default fp<CatchingUpOptions>(
  async (app, options) => {
    checkOptions('catchingUp', OPTIONS, options)
    repeat(
      app,
      'catch-up',
      options,
      async (tools) => {
        const ran = await catchUp({ ...tools, transitMs: options.transitMs })
        if (ran.state === 'done') report(ran.report)
      },
      { startsAtOnce: false },
    )

    // Without webhooks every change is found here; with them, a change found here means that the endpoint has a problem.
    function report({ healed, lost, deletionsWithheld, organizations }: CatchUpReport): void {
      const details = { healed, lost, organizations, deletionsWithheld }
      const receivesWebhooks = app.hasPlugin('clerk-webhooks')
      if (deletionsWithheld > 0) {
        app.log.error(
          details,
          'too many users are missing at Clerk: none was deleted, see clerk-session-sync reconcile',
        )
      }
      const countOf = (counts: object) => Object.values(counts).reduce((sum: number, count) => sum + count, 0)
      if (receivesWebhooks) publish(catchUpChannel, { server: app.server, ...lost })
      if (receivesWebhooks && countOf(lost) > 0)
        app.log.warn(details, 'webhooks were lost: catch-up applied their changes')
      else if (countOf(healed) + organizations > 0) app.log.info(details, 'caught up with Clerk')
    }
  },
  { name: 'clerk-catching-up', fastify: '5.x' },
)
