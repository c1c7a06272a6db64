/** The ledger's counts by event type, at a cost that does not grow with the ledger. */

import type { LedgerEntry } from '../domain/silence.ts'
import { sql } from './drizzle.ts'
import { isClerks, isWaiting } from './ledger.ts'
import { webhookEvents } from './schema.ts'
import { type Executor, milliseconds, type Qualify, statement } from './statement.ts'

/** The number of newest messages to read: that is fast, while reading a month of them may take minutes. */
export const RECENT_EVENTS = 100_000

/** The newest messages of the ledger, by the index on their receive time. */
export const recentEvents = (t: Qualify) =>
  sql`(select * from ${t(webhookEvents)} order by received_at desc limit ${sql.raw(String(RECENT_EVENTS))})`

const selectTypes = statement<Omit<LedgerEntry, 'lastReceivedAt'> & { lastReceivedAt: number }>(
  'webhook_events_types',
  (
    t,
  ) => sql`select type, sum(messages)::int as messages, sum(failed)::int as failed, ${milliseconds(sql`max(last)`)} as "lastReceivedAt"
  from (
    select type, count(*) as messages, 0 as failed, max(received_at) as last from ${recentEvents(t)} r group by type
    union all
    select type, 0, count(*), max(received_at) from ${t(webhookEvents)} e where ${isWaiting(t)} group by type) t
  where ${isClerks} group by type order by type`,
)
const selectOldest = statement<{ oldest: number | null }>(
  'webhook_events_oldest',
  (t) => sql`select ${milliseconds(sql`min(received_at)`)} as oldest from ${t(webhookEvents)} where ${isClerks}`,
)

/**
 * The types among the newest 100,000 messages, and among all failed ones. Test deliveries of the command line do not count.
 */
export async function findLedgerTypes(executor: Executor): Promise<LedgerEntry[]> {
  const rows = await selectTypes(executor)
  return rows.map((row) => ({ ...row, lastReceivedAt: new Date(row.lastReceivedAt) }))
}

/** When the oldest message in the ledger was received. */
export async function findOldestMessage(executor: Executor): Promise<Date | undefined> {
  const [row] = await selectOldest(executor)
  return row?.oldest == null ? undefined : new Date(row.oldest)
}
