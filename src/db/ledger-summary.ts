/** A summary of the ledger, for health checks. */
import { sql } from './drizzle.ts'
import { isClerks, isWaiting } from './ledger.ts'
import { syncState, webhookEvents } from './schema.ts'
import { type Executor, milliseconds, type Qualify, statement } from './statement.ts'

interface Summary {
  last_received_at: number | null
  failed: number
  foreign: number
  foreign_instance: string | null
  lost: number | null
  read_only: boolean
}

/** When Clerk's newest message was received; test deliveries of the command line do not count. */
export const lastReceived = (t: Qualify) => sql`(select max(received_at) from ${t(webhookEvents)} where ${isClerks})`

const foreign = (t: Qualify) =>
  sql`from ${t(webhookEvents)} where outcome = 'ignored' and error is not null and received_at > now() - interval '1 day'`

const latest = statement<Summary>(
  'webhook_events_latest',
  (t) => sql`select ${milliseconds(lastReceived(t))} as last_received_at,
    (select count(*)::int from (select 1 from ${t(webhookEvents)} e where ${isWaiting(t)} limit 1000) f) as failed,
    (select count(*)::int from (select 1 ${foreign(t)} limit 1000) f) as foreign,
    (select instance_id ${foreign(t)} order by received_at desc limit 1) as foreign_instance,
    (select ((state->'lost'->>'created')::int + (state->'lost'->>'updated')::int + (state->'lost'->>'deleted')::int)
      from ${t(syncState)} where job = 'catch-up' and state->'lost'->>'day' = (now() at time zone 'utc')::date::text) as lost,
    current_setting('transaction_read_only') = 'on' as read_only`,
)

/** A summary of the ledger, for health checks. */
export interface LedgerSummary {
  /** When the newest message was received. */
  lastReceivedAt: Date | null
  /** The number of failed messages; counted up to 1,000. */
  failed: number
  /** The number of messages from another Clerk instance in the last day, counted up to 1,000, and the newest one's instance. */
  foreign: number
  foreignInstanceId: string | null
  /** The number of changes that no webhook delivered today (UTC), found by the catch-up. */
  lostToday: number
  /** Whether the database is read-only, as on a standby. */
  isReadOnly: boolean
}

/** Reads the summary at a cost that does not grow with the ledger. */
export async function findLedgerSummary(executor: Executor): Promise<LedgerSummary> {
  const [row] = (await latest(executor)) as [Summary]
  return {
    lastReceivedAt: toDate(row.last_received_at),
    failed: row.failed,
    foreign: row.foreign,
    foreignInstanceId: row.foreign_instance,
    lostToday: row.lost ?? 0,
    isReadOnly: row.read_only,
  }
}

/** Converts a time that a statement returned in milliseconds. */
export const toDate = (time: number | null): Date | null => (time === null ? null : new Date(time))
