/** The SQL of `webhook_events`, the ledger. */
import { type SQL, sql } from 'drizzle-orm'
import pg from 'pg'
import type { Change, Message, Outcome } from '../domain/change.ts'
import { resources } from '../resources/index.ts'
import { pruning } from './pruning.ts'
import { webhookEvents } from './schema.ts'
import { $, type Executor, milliseconds, type Qualify, statement } from './statement.ts'

const stateColumns = sql.raw(
  resources
    .flatMap(({ inLedger }) => Object.entries(inLedger.columns).map(([name, type]) => `${name} ${type}`))
    .join(', '),
)
const isAboutNothing = sql.raw(
  resources.map(({ inLedger }) => `i.${Object.keys(inLedger.columns)[0]} is null`).join(' and '),
)
const isCurrent = (t: Qualify): SQL =>
  sql.join(
    resources.map(({ inLedger }) => inLedger.isCurrent(t)),
    sql` or `,
  )

// Each message with its outcome, read from the rows as the statements before have left them.
const decided = (t: Qualify): SQL => sql`select i.id, i.type, i.object_id, to_timestamp(i.event_at / 1000) as event_at,
      case when ${isAboutNothing} then 'ignored' when ${isCurrent(t)} then 'applied' else 'stale' end as outcome,
      i.deliveries, i.payload
    from json_to_recordset(${$(1)}::json) as i(id text, type text, object_id text, event_at float8, deliveries int,
      payload text, ${stateColumns})
    order by i.id`

// A message that is in the ledger already breaks its primary key, and PostgreSQL undoes the whole transaction. A second
// delivery at the same moment waits here for the first one's commit, on whatever replica it runs. Its rows name only what was
// not applied.
const enter = statement<{ id: string; outcome: Outcome }>(
  'webhook_events_enter',
  (t) => sql`with entered as (
    insert into ${t(webhookEvents)} (id, type, object_id, event_at, outcome, attempts, processed_at, payload)
    select id, type, object_id, event_at, outcome, deliveries, now(), payload
    from (${decided(t)}) d
    returning id, outcome)
  select id, outcome from entered where outcome <> 'applied'`,
)

// Messages that failed before. For one that was applied meanwhile the outcome is null, which the column refuses: PostgreSQL
// undoes the whole transaction here as well.
const enterAgain = statement<{ id: string; outcome: Outcome }>(
  'webhook_events_enter_again',
  (t) => sql`update ${t(webhookEvents)} e set outcome = case when e.outcome = 'failed' then d.outcome end,
    type = d.type, object_id = d.object_id, event_at = d.event_at, error = null, payload = d.payload,
    attempts = e.attempts + d.deliveries, last_received_at = now(), processed_at = now()
  from (${decided(t)}) d
  where e.id = d.id
  returning e.id, e.outcome`,
)

/** A change with its message, and how often the message was delivered just now. */
export interface Entry {
  change: Change & { message: Message }
  deliveries: number
}

/**
 * The statements that enter these messages with their outcomes. Where there is none to run, none is given.
 * @param failedBefore ids of messages that the ledger knows as failed
 */
export function enterMessages(entries: Entry[], failedBefore: ReadonlySet<string>, storePayloads: boolean) {
  const toInput = ({ change, deliveries }: Entry) =>
    Object.assign(
      toRow(change.message, storePayloads),
      { deliveries },
      ...resources.map(({ name, inLedger }) => change[name] && inLedger.input(change[name])),
    )
  const fresh = entries.filter(({ change }) => !failedBefore.has(change.message.id))
  const again = entries.filter(({ change }) => failedBefore.has(change.message.id))
  const entered = fresh.length > 0 ? enter.call(JSON.stringify(fresh.map(toInput))) : undefined
  const enteredAgain = again.length > 0 ? enterAgain.call(JSON.stringify(again.map(toInput))) : undefined
  return {
    calls: [entered, enteredAgain].filter((call) => call !== undefined),
    /** What became of each message; of one that failed before and is no longer there, nothing. */
    outcomes: () =>
      new Map<string, Outcome>([
        ...fresh.map(({ change }) => [change.message.id, 'applied'] as const),
        ...[...(entered?.rows ?? []), ...(enteredAgain?.rows ?? [])].map(({ id, outcome }) => [id, outcome] as const),
      ]),
  }
}

function toRow({ id, type, objectId, eventAt, payload }: Message, withPayload: boolean) {
  return { id, type, object_id: objectId, event_at: eventAt, ...(withPayload && { payload }) }
}

/** Whether a transaction was undone because the ledger knows a message of it already. */
export const isKnownMessage = (error: unknown): boolean =>
  error instanceof pg.DatabaseError &&
  error.table === 'webhook_events' &&
  (error.code === '23505' || (error.code === '23502' && error.column === 'outcome'))

/** What the ledger knows of messages: ids of those that were applied before, and of those that failed. */
export interface KnownMessages {
  applied: ReadonlySet<string>
  failed: ReadonlySet<string>
}

const selectKnown = statement<{ id: string; has_failed: boolean }>(
  'webhook_events_known',
  (t) => sql`select id, outcome = 'failed' as has_failed from ${t(webhookEvents)} where id = any(${$(1)}::text[])`,
)

export async function findKnownMessages(executor: Executor, ids: string[]): Promise<KnownMessages> {
  const rows = await selectKnown(executor, ids)
  const idsOf = (hasFailed: boolean) => new Set(rows.flatMap((row) => (row.has_failed === hasFailed ? row.id : [])))
  return { applied: idsOf(false), failed: idsOf(true) }
}

const countAttempts = statement<{ id: string }>(
  'webhook_events_repeat',
  (t) => sql`update ${t(webhookEvents)} e set attempts = e.attempts + i.deliveries, last_received_at = now()
  from json_to_recordset(${$(1)}::json) as i(id text, deliveries int)
  where e.id = i.id returning e.id`,
)

/** The statement that counts further deliveries of messages that were applied before. Its rows name those that are there. */
export const repeatMessages = (deliveries: Map<string, number>) =>
  countAttempts.call(JSON.stringify([...deliveries].sort().map(([id, deliveries]) => ({ id, deliveries }))))

const fail = statement<{ outcome: string }>(
  'webhook_events_fail',
  (t) => sql`insert into ${t(webhookEvents)} as e (id, type, object_id, event_at, outcome, error, payload)
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
  last_received_at: number | null
  failed: number
  read_only: boolean
}

const latest = statement<Summary>(
  'webhook_events_latest',
  (t) => sql`select ${milliseconds(sql`(select max(received_at) from ${t(webhookEvents)})`)} as last_received_at,
    (select count(*)::int from (select 1 from ${t(webhookEvents)} where outcome = 'failed' limit 1000) f) as failed,
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
  return { lastReceivedAt: toDate(row.last_received_at), failed: row.failed, isReadOnly: row.read_only }
}

/** A time that a statement gave in milliseconds. */
export const toDate = (time: number | null): Date | null => (time === null ? null : new Date(time))
