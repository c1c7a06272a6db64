import fp from 'fastify-plugin'
import { prune } from '../jobs/prune.ts'
import { checkOptions, number, optional, optionsOf } from './check-options.ts'

export interface PruningOptions {
  /** Days after which events are deleted from the ledger; default 30. */
  retentionDays?: number
  /** Days after which changes are deleted from the feed; default 7. */
  changesRetentionDays?: number
  intervalMs?: number
}

const OPTIONS = optionsOf<PruningOptions>({
  retentionDays: optional(number),
  changesRetentionDays: optional(number),
  intervalMs: optional(number),
})

/** Prunes the ledger, ended sessions and the change feed, at startup and then hourly, on one replica at a time. */
export default fp<PruningOptions>(
  async (app, options) => {
    checkOptions('clerkPruning', OPTIONS, options)
    const { retentionDays = 30, changesRetentionDays = 7, intervalMs = 3_600_000 } = options
    let timer: NodeJS.Timeout | undefined
    let underWay: Promise<void> | undefined

    async function run(): Promise<void> {
      try {
        const pruned = await prune(app.clerkRepository, retentionDays, changesRetentionDays)
        if (pruned.events + pruned.sessions + pruned.changes > 0)
          app.log.info({ ...pruned, retentionDays }, 'pruned old rows')
      } catch (error) {
        app.log.warn({ err: error }, 'old rows could not be pruned')
      }
    }
    const start = () => {
      underWay = run()
    }
    app.addHook('onReady', async () => {
      start()
      timer = setInterval(start, intervalMs).unref()
    })
    app.addHook('onClose', async () => {
      clearInterval(timer)
      await underWay
    })
  },
  { name: 'clerk-pruning', fastify: '5.x', dependencies: ['clerk-database'] },
)
