import fp from 'fastify-plugin'

export interface LedgerPruningOptions {
  /** Days after which the ledger forgets an event; 30 unless told. */
  retentionDays?: number
  intervalMs?: number
}

/** Prunes the ledger, and sessions that are over, at the start and then hourly; of several replicas, one does it. */
export default fp<LedgerPruningOptions>(
  async (app, { retentionDays = 30, intervalMs = 3_600_000 }) => {
    let timer: NodeJS.Timeout | undefined
    let underWay: Promise<void> | undefined

    async function prune(): Promise<void> {
      try {
        await app.clerkRepository.supersede()
        const pruned = await app.clerkRepository.prune(retentionDays)
        if (pruned > 0) app.log.info({ pruned, retentionDays }, 'pruned the ledger')
        const sessions = await app.clerkRepository.pruneSessions(retentionDays)
        if (sessions > 0) app.log.info({ pruned: sessions, retentionDays }, 'pruned sessions that are over')
      } catch (error) {
        app.log.warn({ err: error }, 'the ledger could not be pruned')
      }
    }
    const start = () => {
      underWay = prune()
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
  { name: 'clerk-ledger-pruning', fastify: '5.x', dependencies: ['clerk-database'] },
)
