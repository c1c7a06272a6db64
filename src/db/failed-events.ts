/** The SQL of the ledger's failed messages, which wait for a replay. */
import { sql } from 'drizzle-orm'
import { webhookEvents } from './schema.ts'
import { $, type Executor, statement } from './statement.ts'

/** Which failed messages; without any of these, all. */
export interface FailedEventsFilter {
  /** Received first at this moment or later. */
  since?: Date
  type?: string
  /** Svix message ids. */
  ids?: readonly string[]
}

/** A place in the list: that of the message which was read last. */
export interface FailedEventsCursor {
  receivedAt: Date
  id: string
}

/** A message of the ledger that could not be used. */
export interface FailedEvent {
  id: string
  type: string
  objectId: string | null
  /** Why it could not be used, the last time. */
  error: string | null
  attempts: number
  eventAt: Date | null
  receivedAt: Date
  lastReceivedAt: Date
  /** The body as it came. It holds personal data. */
  payload: string | null
}

const select = statement<FailedEvent>(
  'webhook_events_failed',
  sql`select id, type, object_id as "objectId", error, attempts, event_at as "eventAt", received_at as "receivedAt",
    last_received_at as "lastReceivedAt", payload
  from ${webhookEvents}
  where outcome = 'failed'
    and received_at >= coalesce(${$(1)}::timestamptz, '-infinity')
    and (${$(2)}::text is null or type = ${$(2)})
    and (${$(3)}::text[] is null or id = any(${$(3)}))
    and (received_at, id) > (coalesce(${$(4)}::timestamptz, '-infinity'), coalesce(${$(5)}::text, ''))
  order by received_at, id
  limit ${$(6)}::int`,
)

/** A page of failed messages, the oldest first; the next one begins after the last of this. */
export function findFailedEvents(
  executor: Executor,
  { since, type, ids }: FailedEventsFilter,
  { after, limit }: { after?: FailedEventsCursor; limit: number },
): Promise<FailedEvent[]> {
  return select(executor, since, type, ids, after?.receivedAt, after?.id, limit)
}
