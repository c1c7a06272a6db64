/** `prune`: what the service does automatically once an hour. */
import { prune } from '../jobs/prune.ts'
import { type Context, EXIT_DONE, withDatabase } from './context.ts'
import { count } from './output.ts'

export interface PruneFlags {
  days?: number
}

export async function runPrune(context: Context, { days }: PruneFlags): Promise<number> {
  const retentionDays = days ?? context.config.WEBHOOK_EVENTS_RETENTION_DAYS
  return withDatabase(context, async ({ repository }) => {
    const { CHANGES_RETENTION_DAYS } = context.config
    const { events, sessions, changes } = await prune(repository, retentionDays, CHANGES_RETENTION_DAYS)
    context.output.result({ retentionDays, events, sessions, changes }, [
      `${count(events)} events older than ${retentionDays} days and ${count(sessions)} ended sessions were deleted.`,
      `${count(changes)} changes of the feed older than ${CHANGES_RETENTION_DAYS} days were deleted.`,
    ])
    return EXIT_DONE
  })
}
