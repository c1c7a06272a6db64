/** What the ledger holds of each type of event. */
import { sql } from 'drizzle-orm'
import type { LedgerEntry } from '../domain/silence.ts'
import { TEST_EVENT_TYPE } from '../domain/test-event.ts'
import { webhookEvents } from './schema.ts'
import { type Executor, statement } from './statement.ts'

const select = statement<LedgerEntry>(
  'webhook_events_types',
  sql`select type, count(*)::int as messages, (count(*) filter (where outcome = 'failed'))::int as failed,
    min(received_at) as "firstReceivedAt", max(received_at) as "lastReceivedAt"
  from ${webhookEvents} where type <> ${sql.raw(`'${TEST_EVENT_TYPE}'`)} group by type order by type`,
)

/** Reads the whole ledger once. Deliveries of our own, made to test the endpoint, do not count. */
export const findLedgerTypes = (executor: Executor): Promise<LedgerEntry[]> => select(executor)
