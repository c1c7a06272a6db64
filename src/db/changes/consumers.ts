/** The position of each consumer of the feed, and its deliveries that have not succeeded. */

import type { Position } from '../../domain/feed.ts'
import { sql } from '../drizzle.ts'
import { $, type Call, type Executor, milliseconds, statement } from '../statement.ts'
import { type EntryRow, entryColumns, type FeedEntry, idOf, toEntry } from './read.ts'
import { changeConsumers, changeDeliveries } from './table.ts'

const insert = statement(
  'change_consumers_insert',
  (t) => sql`insert into ${t(changeConsumers)} (name, xid, seq)
  values (${$(1)}, pg_snapshot_xmin(pg_current_snapshot()), 0) on conflict (name) do nothing`,
)
const find = statement<Position>(
  'change_consumers_find',
  (t) => sql`select xid::text, seq::text from ${t(changeConsumers)} where name = ${$(1)}`,
)
const advance = statement(
  'change_consumers_advance',
  (t) => sql`update ${t(changeConsumers)} set xid = ${$(2)}::xid8, seq = ${$(3)}::bigint, updated_at = now()
  where name = ${$(1)} and (xid, seq) < (${$(2)}::xid8, ${$(3)}::bigint)`,
)

/** Registers a consumer, which starts with the changes from now on. A registered one keeps its position. */
export async function addConsumer(executor: Executor, name: string): Promise<void> {
  await insert(executor, name)
}

/** The position after the last change that was delivered to the consumer. */
export async function findPlace(executor: Executor, name: string): Promise<Position> {
  const [row] = (await find(executor, name)) as [Position]
  return row
}

/** Makes the call that moves a consumer forward, never back. */
export const moveTo = (name: string, { xid, seq }: Position): Call => advance.call(name, xid, seq)

/** A delivery that failed, or that waits behind a failed one of the same entity. */
export interface Waiting extends FeedEntry {
  attempts: number
  /** The next attempt, in ms since 1970; null if it waits behind another delivery of its entity. */
  nextAttemptAt: number | null
}

const keep = statement(
  'change_deliveries_keep',
  (t) => sql`insert into ${t(changeDeliveries)} as d
    (consumer, xid, seq, entity, entity_id, op, changed, cause, occurred_at, attempts, next_attempt_at, dead_at, error)
  select ${$(1)}::text, i.xid::xid8, i.seq, i.entity, i.entity_id, i.op,
    array(select json_array_elements_text(i.changed)), i.cause, i.occurred_at,
    i.attempts, to_timestamp(i.next_attempt_at / 1000), case when i.is_dead then now() end, i.error
  from json_to_recordset(${$(2)}::json) as i(xid text, seq bigint, entity text, entity_id text, op text, changed json,
    cause text, occurred_at timestamptz, attempts int, next_attempt_at float8, is_dead boolean, error text)
  on conflict (consumer, xid, seq) do update set attempts = excluded.attempts, next_attempt_at = excluded.next_attempt_at,
    dead_at = excluded.dead_at, error = excluded.error`,
)
const remove = statement(
  'change_deliveries_remove',
  (t) => sql`delete from ${t(changeDeliveries)} d
  using json_to_recordset(${$(2)}::json) as i(xid text, seq bigint)
  where d.consumer = ${$(1)} and d.xid = i.xid::xid8 and d.seq = i.seq`,
)

export interface Kept extends Waiting {
  /** Whether it was given up, until an operator sends it again. */
  isDead: boolean
  error: string | null
}

/** Makes the call that stores these deliveries. */
export const keepDeliveries = (name: string, deliveries: Kept[]): Call =>
  keep.call(
    name,
    JSON.stringify(
      deliveries.map(({ position, change, attempts, nextAttemptAt, isDead, error }) => ({
        ...position,
        entity: change.entity,
        entity_id: change.entityId,
        op: change.op,
        changed: change.changed,
        cause: change.cause,
        occurred_at: change.occurredAt,
        attempts,
        next_attempt_at: nextAttemptAt,
        is_dead: isDead,
        error,
      })),
    ),
  )

/** Makes the call that removes these deliveries after they succeeded. */
export const removeDeliveries = (name: string, positions: Position[]): Call =>
  remove.call(name, JSON.stringify(positions))

interface WaitingRow extends EntryRow {
  attempts: number
  next_attempt_at: number | null
}

const selectWaiting = statement<WaitingRow>(
  'change_deliveries_waiting',
  (t) => sql`select ${entryColumns('d')}, d.attempts, ${milliseconds(sql.raw('d.next_attempt_at'))} as next_attempt_at
  from ${t(changeDeliveries)} d where d.consumer = ${$(1)} and d.dead_at is null order by d.xid, d.seq`,
)
const selectDue = statement<WaitingRow>(
  'change_deliveries_due',
  (t) => sql`select ${entryColumns('d')}, d.attempts, ${milliseconds(sql.raw('d.next_attempt_at'))} as next_attempt_at
  from ${t(changeDeliveries)} d where d.consumer = ${$(1)} and d.next_attempt_at <= now() order by d.xid, d.seq limit 1000`,
)

const toWaiting = (row: WaitingRow): Waiting => ({
  ...toEntry(row),
  attempts: row.attempts,
  nextAttemptAt: row.next_attempt_at,
})

/** The deliveries that were not given up, in the order of the feed. */
export async function findWaiting(executor: Executor, name: string): Promise<Waiting[]> {
  return (await selectWaiting(executor, name)).map(toWaiting)
}

/** The deliveries that are due, including dead letters that an operator has revived. */
export async function findDue(executor: Executor, name: string): Promise<Waiting[]> {
  return (await selectDue(executor, name)).map(toWaiting)
}

export interface DeadLetter {
  consumer: string
  id: string
  type: string
  entityId: string
  attempts: number
  error: string | null
  occurredAt: string
  deadAt: string
}

interface DeadRow extends EntryRow {
  consumer: string
  attempts: number
  error: string | null
  dead_at: number
}

export interface DeadLetterFilter {
  consumer?: string
  /** Ids of changes. */
  ids?: string[]
}

const isMeant = sql`(${$(1)}::text is null or d.consumer = ${$(1)}) and (${$(2)}::text[] is null or 'chg_' || d.seq = any(${$(2)}))`
const selectDead = statement<DeadRow>(
  'change_deliveries_dead',
  (
    t,
  ) => sql`select d.consumer, ${entryColumns('d')}, d.attempts, d.error, ${milliseconds(sql.raw('d.dead_at'))} as dead_at
  from ${t(changeDeliveries)} d where d.dead_at is not null and ${isMeant}
  order by d.consumer, d.xid, d.seq limit ${$(3)}`,
)
const revive = statement<{ consumer: string; seq: string }>(
  'change_deliveries_revive',
  (t) => sql`update ${t(changeDeliveries)} d set dead_at = null, attempts = 0, next_attempt_at = now(), error = null
  where d.dead_at is not null and ${isMeant} returning d.consumer, d.seq::text`,
)

const parametersOf = ({ consumer, ids }: DeadLetterFilter) => [consumer ?? null, ids ?? null]

/** Deliveries that were given up; by default at most 1,000. */
export async function findDeadLetters(
  executor: Executor,
  filter: DeadLetterFilter = {},
  limit = 1_000,
): Promise<DeadLetter[]> {
  const rows = await selectDead(executor, ...parametersOf(filter), limit)
  return rows.map((row) => ({
    consumer: row.consumer,
    id: idOf(row.seq),
    type: `${row.entity}.${row.op}`,
    entityId: row.entity_id,
    attempts: row.attempts,
    error: row.error,
    occurredAt: new Date(row.occurred_at).toISOString(),
    deadAt: new Date(row.dead_at).toISOString(),
  }))
}

/** Schedules dead letters again, with all retries. Returns which. */
export async function reviveDeadLetters(executor: Executor, filter: DeadLetterFilter = {}) {
  const rows = await revive(executor, ...parametersOf(filter))
  return rows.map(({ consumer, seq }) => ({ consumer, id: idOf(seq) }))
}
