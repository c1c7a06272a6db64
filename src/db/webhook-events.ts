/** The SQL of `webhook_events`, the ledger. */
import { sql } from 'drizzle-orm'
import type { Message, Outcome } from '../domain/change.ts'
import { pruning } from './pruning.ts'
import { webhookEvents } from './schema.ts'
import { $, type Executor, IN_TRANSACTION, statement } from './statement.ts'

/** The columns of a message as `toRow` writes it, but for its id. */
export const MESSAGE_INPUT = sql.raw('type text, object_id text, event_at float8, payload text')

/** What the ledger knew of a message when this delivery of it came. */
export type Claim = 'first' | 'failed before' | 'applied before'

// A second delivery at the same moment waits here for the first one's commit, on whatever replica it runs. Out of a
// transaction nothing is entered: a message that is entered without its change would be lost.
const claim = statement<{ id: string; inserted: boolean; failed: boolean }>(
  'webhook_events_claim',
  sql`insert into ${webhookEvents} as e (id, type, object_id, event_at, outcome, attempts, processed_at, payload)
  select i.id, i.type, i.object_id, to_timestamp(i.event_at / 1000), 'applied', i.deliveries, now(), i.payload
  from json_to_recordset(${$(1)}::json) as i(id text, deliveries int, ${MESSAGE_INPUT})
  where ${IN_TRANSACTION}
  order by i.id
  on conflict (id) do update set attempts = e.attempts + excluded.attempts, last_received_at = now()
  returning e.id, e.xmax = 0 as inserted, e.outcome = 'failed' as failed`,
)

/**
 * Enters each message as applied, or counts one more attempt of it. `messages` may hold several deliveries of one message.
 * The rows stay locked until the transaction of `inTransaction` ends; out of one nothing happens.
 */
export async function claimMessages(
  executor: Executor,
  messages: Message[],
  storePayloads: boolean,
): Promise<Map<string, Claim>> {
  const byId = new Map<string, ReturnType<typeof toRow> & { deliveries: number }>()
  for (const message of messages) {
    const deliveries = (byId.get(message.id)?.deliveries ?? 0) + 1
    byId.set(message.id, { ...toRow(message, storePayloads), deliveries })
  }
  const rows = await claim(executor, JSON.stringify([...byId.values()]))
  return new Map(
    rows.map(({ id, inserted, failed }) => [id, inserted ? 'first' : failed ? 'failed before' : 'applied before']),
  )
}

/** A message as the input of a statement. */
export function toRow({ id, type, objectId, eventAt, payload }: Message, withPayload: boolean) {
  return { id, type, object_id: objectId, event_at: eventAt, ...(withPayload && { payload }) }
}

const settle = statement(
  'webhook_events_settle',
  sql`update ${webhookEvents} e set outcome = i.outcome, type = i.type, object_id = i.object_id, error = null,
    event_at = to_timestamp(i.event_at / 1000), processed_at = now(), payload = i.payload
  from json_to_recordset(${$(1)}::json) as i(id text, outcome text, ${MESSAGE_INPUT})
  where e.id = i.id`,
)

/** Writes the outcomes of claimed messages; an earlier failure is forgotten with its payload. */
export async function settleMessages(
  executor: Executor,
  settled: { message: Message; outcome: Outcome }[],
  storePayloads: boolean,
): Promise<void> {
  await settle(
    executor,
    JSON.stringify(settled.map(({ message, outcome }) => ({ ...toRow(message, storePayloads), outcome }))),
  )
}

const fail = statement<{ outcome: string }>(
  'webhook_events_fail',
  sql`insert into ${webhookEvents} as e (id, type, object_id, event_at, outcome, error, payload)
  values (${$(1)}, ${$(2)}, ${$(3)}, to_timestamp(${$(4)}::float8 / 1000), 'failed', ${$(5)}, ${$(6)})
  on conflict (id) do update set attempts = e.attempts + 1, last_received_at = now(),
    error = case when e.outcome = 'failed' then excluded.error else e.error end,
    payload = case when e.outcome = 'failed' then excluded.payload else e.payload end
  returning e.outcome`,
)

/**
 * Keeps a message that cannot be used, with the reason, for a replay. One that was applied before stays so; says whether.
 */
export async function failMessage(executor: Executor, message: Message, reason: string): Promise<boolean> {
  const { id, type, objectId, eventAt, payload } = message
  const [row] = await fail(executor, id, type, objectId, eventAt, reason, payload)
  return row?.outcome !== 'failed'
}

/** Deletes messages received more than so many days ago (see pruning.ts). Returns how many. */
export const pruneMessages = pruning('webhook_events_prune', webhookEvents, webhookEvents.receivedAt)

interface Summary {
  last_received_at: Date | null
  failed: number
  read_only: boolean
}

const latest = statement<Summary>(
  'webhook_events_latest',
  sql`select (select max(received_at) from ${webhookEvents}) as last_received_at,
    (select count(*)::int from (select 1 from ${webhookEvents} where outcome = 'failed' limit 1000) f) as failed,
    current_setting('transaction_read_only') = 'on' as read_only`,
)

/** The ledger at a glance. */
export interface LedgerSummary {
  /** When the newest message came. */
  lastReceivedAt: Date | null
  /** How many wait as failed, 1,000 at most. */
  failed: number
  /** Whether nothing can be entered, as on a standby. */
  isReadOnly: boolean
}

/** Reads it at a cost that does not grow with the ledger. */
export async function findLedgerSummary(executor: Executor): Promise<LedgerSummary> {
  const [row] = (await latest(executor)) as [Summary]
  return { lastReceivedAt: row.last_received_at, failed: row.failed, isReadOnly: row.read_only }
}
