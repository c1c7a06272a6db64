/** The SQL of the ledger's failed messages, which can be replayed. */
import { sql } from './drizzle.ts'
import { isWaiting as waiting } from './ledger.ts'
import { toDate } from './ledger-summary.ts'
import { webhookEvents } from './schema.ts'
import { $, type Executor, milliseconds, statement } from './statement.ts'

/** Selects failed messages; an empty filter selects all. */
export interface FailedEventsFilter {
  /** First received at this time or later. */
  since?: Date
  type?: string
  /** Svix message ids. */
  ids?: readonly string[]
  /** Leaves out messages that a newer one has superseded; replaying those changes nothing and removes them from the list. */
  isWaiting?: boolean
}

/** A position in the list: that of the last message that was read. */
export interface FailedEventsCursor {
  receivedAt: Date
  id: string
}

/** A message of the ledger that could not be used. */
export interface FailedEvent {
  id: string
  type: string
  objectId: string | null
  /** Why the last attempt failed. */
  error: string | null
  attempts: number
  eventAt: Date | null
  receivedAt: Date
  lastReceivedAt: Date
  /** The payload as received. It contains personal data. */
  payload: string | null
}

type Times = 'eventAt' | 'receivedAt' | 'lastReceivedAt'

const select = statement<Omit<FailedEvent, Times> & Record<Times, number | null>>(
  'webhook_events_failed',
  (t) => sql`select id, type, object_id as "objectId", error, attempts, ${milliseconds(sql`event_at`)} as "eventAt",
    ${milliseconds(sql`received_at`)} as "receivedAt", ${milliseconds(sql`last_received_at`)} as "lastReceivedAt", payload
  from ${t(webhookEvents)} e
  where outcome = 'failed' and (${waiting(t)} or not ${$(7)}::boolean and payload is not null)
    and received_at >= coalesce(${$(1)}::timestamptz, '-infinity')
    and (${$(2)}::text is null or type = ${$(2)})
    and (${$(3)}::text[] is null or id = any(${$(3)}))
    and (received_at, id) > (coalesce(${$(4)}::timestamptz, '-infinity'), coalesce(${$(5)}::text, ''))
  order by received_at, id
  limit ${$(6)}::int`,
)

/** A page of failed messages, oldest first; the next page starts after the last one of this. */
export async function findFailedEvents(
  executor: Executor,
  { since, type, ids, isWaiting = false }: FailedEventsFilter,
  { after, limit }: { after?: FailedEventsCursor; limit: number },
): Promise<FailedEvent[]> {
  const rows = await select(executor, since, type, ids, after?.receivedAt, after?.id, limit, isWaiting)
  return rows.map((row) => ({
    ...row,
    eventAt: toDate(row.eventAt),
    receivedAt: toDate(row.receivedAt) as Date,
    lastReceivedAt: toDate(row.lastReceivedAt) as Date,
  }))
}
