/** `prune`: what the service does automatically once an hour. */
import { prune } from '../jobs/prune.ts'
import { type Context, EXIT_DONE, withDatabase } from './context.ts'
import { countOf } from './output.ts'

export interface PruneFlags {
  days?: number
}

export async function runPrune(context: Context, { days }: PruneFlags): Promise<number> {
  const retentionDays = days ?? context.config.WEBHOOK_EVENTS_RETENTION_DAYS
  return withDatabase(context, async ({ repository }) => {
    const { CHANGES_RETENTION_DAYS } = context.config
    const { events, sessions, changes } = await prune(repository, retentionDays, CHANGES_RETENTION_DAYS)
    context.output.result({ retentionDays, events, sessions, changes }, [
      `Deleted: ${countOf(events, 'event')} older than ${countOf(retentionDays, 'day')}, ${countOf(sessions, 'ended session')}, ` +
        `${countOf(changes, 'change')} of the feed older than ${countOf(CHANGES_RETENTION_DAYS, 'day')}.`,
    ])
    return EXIT_DONE
  })
}
