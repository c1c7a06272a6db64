/** `prune`: what the service does by itself once an hour. */
import { prune } from '../jobs/prune.ts'
import { type Context, EXIT_DONE, withDatabase } from './context.ts'
import { count } from './output.ts'

export interface PruneFlags {
  days?: number
}

export async function runPrune(context: Context, { days }: PruneFlags): Promise<number> {
  const retentionDays = days ?? context.config.WEBHOOK_EVENTS_RETENTION_DAYS
  return withDatabase(context, async ({ repository }) => {
    const { events, sessions } = await prune(repository, retentionDays)
    context.output.result({ retentionDays, events, sessions }, [
      `${count(events)} events older than ${retentionDays} days and ${count(sessions)} sessions that are over were deleted.`,
    ])
    return EXIT_DONE
  })
}
