/** The SQL of `webhook_events`, the ledger. */

import pg from 'pg'
import type { Change, Message, Outcome } from '../domain/change.ts'
import { TEST_EVENT_TYPE } from '../domain/test-event.ts'
import { resources } from '../resources/index.ts'
import { type SQL, sql } from './drizzle.ts'
import { lockObjects } from './locks.ts'
import type { Pool } from './pool.ts'
import { PRUNE_BATCH, pruning } from './pruning.ts'
import type { Resource } from './resource.ts'
import { webhookEvents } from './schema.ts'
import { $, type Executor, type Qualify, sqlTimeOf, statement } from './statement.ts'

type Known = readonly Resource[]

const stateColumns = (known: Known) =>
  sql.raw(
    known
      .flatMap(({ inLedger }) => Object.entries(inLedger.columns).map(([name, type]) => `${name} ${type}`))
      .join(', '),
  )
const isAboutNothing = (known: Known) =>
  sql.raw(known.map(({ inLedger }) => `i.${Object.keys(inLedger.columns)[0]} is null`).join(' and '))
const isCurrent = (t: Qualify, known: Known): SQL =>
  sql.join(
    known.map(({ inLedger }) => inLedger.isCurrent(t)),
    sql` or `,
  )

const isAboutErased = (t: Qualify, id: SQL, at: SQL): SQL =>
  sql`(${sql.join(
    resources.flatMap(({ erasure }) => erasure?.isErased(t, id, at) ?? []),
    sql` or `,
  )})`

/** A condition on a message: Clerk sent it. Test deliveries of the command line are in the ledger, too. */
export const isClerks = sql.raw(`type <> '${TEST_EVENT_TYPE}'`)

/** A condition on the message `e`: it failed, and nothing newer is known about its object. */
export const isWaiting = (t: Qualify): SQL => sql`(e.outcome = 'failed' and not (${isSuperseded(t)}))`
const isSuperseded = (t: Qualify): SQL =>
  sql.join(
    resources.map(({ inLedger }) => inLedger.isSuperseded(t)),
    sql` or `,
  )

// Outcomes of messages that a later delivery can still apply.
const OPEN = sql.raw(`('failed', 'superseded', 'discarded')`)

// Enters each message with its outcome, derived from the rows that the preceding statements wrote. Payloads of applied messages
// are kept if wanted, unless their user is deleted. `offset 0` keeps PostgreSQL from computing the outcome once for each use.
const decided = (
  t: Qualify,
  { known, keepsPayloads }: Variant,
): SQL => sql`select i.id, i.type, i.object_id, i.instance_id,
      to_timestamp(i.event_at / 1000) as event_at, o.outcome, i.error, i.deliveries,
      ${keepsPayloads ? sql`case when k.is_kept then i.payload end` : sql`null`} as payload,
      ${keepsPayloads ? sql`case when k.is_kept then i.about_user end` : sql`null`} as user_id
    from json_to_recordset(${$(1)}::json) as i(id text, type text, object_id text, instance_id text, event_at float8,
      error text, deliveries int, payload text, about_user text, ${stateColumns(known)})
    cross join lateral (select
      case when ${isAboutNothing(known)} then 'ignored' when ${isCurrent(t, known)} then 'applied' else 'stale' end
        as outcome offset 0) o${keepsPayloads ? isKept(t) : sql``}
    order by i.id`
const isKept = (t: Qualify) => sql`
    cross join lateral (select i.payload is not null and o.outcome = 'applied'
      and not ${isAboutErased(t, sql`i.about_user`, sqlTimeOf('event_at'))} as is_kept offset 0) k`

/** PostgreSQL sets up all subqueries of a statement, even if no row needs them. */
interface Variant {
  /** The resources that the messages may be about. */
  known: Known
  keepsPayloads: boolean
}

// A message that is already in the ledger violates the primary key, so PostgreSQL rolls back the whole transaction. A concurrent
// delivery of the same message, on any replica, waits here for the first one's commit. Returns only messages that were not
// applied.
const entering = (name: string, variant: Variant) =>
  statement<{ id: string; outcome: Outcome }>(
    name,
    (t) => sql`with entered as (
    insert into ${t(webhookEvents)}
      (id, type, object_id, instance_id, event_at, outcome, error, attempts, processed_at, payload, user_id)
    select id, type, object_id, instance_id, event_at, outcome, error, deliveries, now(), payload, user_id
    from (${decided(t, variant)}) d
    returning id, outcome)
  select id, outcome from entered where outcome <> 'applied'`,
  )
const enterAny = entering('webhook_events_enter', { known: resources, keepsPayloads: true })
// Most batches are about one resource: their statement costs PostgreSQL a quarter less (22 and 16 µs a message in batches of 32).
const enterAbout = new Map<string, typeof enterAny>(
  resources.map((resource) => [
    resource.name,
    entering(`webhook_events_enter_${resource.name}`, { known: [resource], keepsPayloads: false }),
  ]),
)

// Messages that failed before. If one was applied meanwhile, the `case` is null, which the column refuses, so PostgreSQL rolls back
// the whole transaction here as well.
const enterAgain = statement<{ id: string; outcome: Outcome }>(
  'webhook_events_enter_again',
  (t) => sql`update ${t(webhookEvents)} e set outcome = case when e.outcome in ${OPEN} then d.outcome end,
    type = d.type, object_id = d.object_id, instance_id = d.instance_id, event_at = d.event_at, error = d.error,
    payload = d.payload, user_id = d.user_id, attempts = e.attempts + d.deliveries, last_received_at = now(), processed_at = now()
  from (${decided(t, { known: resources, keepsPayloads: true })}) d
  where e.id = d.id
  returning e.id, e.outcome`,
)

/** A change with its message, and the number of deliveries of the message in this batch. */
export interface Entry {
  change: Change & { message: Message }
  deliveries: number
}

/**
 * The calls that enter these messages with their outcomes; none without messages.
 * @param failedBefore ids of messages that the ledger knows as failed
 */
export function enterMessages(entries: Entry[], failedBefore: ReadonlySet<string>, storePayloads: boolean) {
  const about = new Set<string>()
  function toInput({ change, deliveries }: Entry) {
    const row = toRow(change.message, deliveries, storePayloads)
    for (const { name, inLedger } of resources) {
      const state = change[name]
      if (state === undefined) continue
      about.add(name)
      Object.assign(row, inLedger.input(state))
    }
    return row
  }
  const fresh = entries.filter(({ change }) => !failedBefore.has(change.message.id))
  const again = entries.filter(({ change }) => failedBefore.has(change.message.id))
  const input = JSON.stringify(fresh.map(toInput))
  const [only, ...others] = about
  const enter = (others.length === 0 && !storePayloads && enterAbout.get(only as string)) || enterAny
  const entered = fresh.length > 0 ? enter.call(input) : undefined
  const enteredAgain = again.length > 0 ? enterAgain.call(JSON.stringify(again.map(toInput))) : undefined
  return {
    calls: [entered, enteredAgain].filter((call) => call !== undefined),
    /** The outcome of each message; nothing for one that failed before and is no longer in the ledger. */
    outcomes: () =>
      new Map<string, Outcome>([
        ...fresh.map(({ change }) => [change.message.id, 'applied'] as const),
        ...[...(entered?.rows ?? []), ...(enteredAgain?.rows ?? [])].map(({ id, outcome }) => [id, outcome] as const),
      ]),
  }
}

function toRow(message: Message, deliveries: number, withPayload: boolean): Record<string, unknown> {
  const { id, type, objectId, instanceId, eventAt, ignoredFor, payload, userId } = message
  const row = {
    id,
    type,
    object_id: objectId,
    instance_id: instanceId,
    event_at: eventAt,
    error: ignoredFor,
    deliveries,
  }
  // A pending invitation contains an email address that the deletion of a user could not find, so its payload is not stored.
  const isOfNobody = type.startsWith('organizationInvitation.') && !userId
  return withPayload && !isOfNobody ? { ...row, payload, about_user: userId } : row
}

/** Whether a transaction was rolled back because one of its messages is already in the ledger. */
export const isKnownMessage = (error: unknown): boolean =>
  error instanceof pg.DatabaseError &&
  error.table === 'webhook_events' &&
  (error.constraint === 'webhook_events_pkey' || (error.code === '23502' && error.column === 'outcome'))

/** Ids of messages that are already in the ledger. */
export interface KnownMessages {
  /** Those that are done: applied, stale or ignored. */
  applied: ReadonlySet<string>
  /** Those that a later delivery can still apply. */
  failed: ReadonlySet<string>
}

const selectKnown = statement<{ id: string; has_failed: boolean }>(
  'webhook_events_known',
  (t) => sql`select id, outcome in ${OPEN} as has_failed from ${t(webhookEvents)} where id = any(${$(1)}::text[])`,
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

/** Counts further deliveries of messages that were applied before. Returns those that exist. */
export const repeatMessages = (deliveries: Map<string, number>) =>
  countAttempts.call(JSON.stringify([...deliveries].sort().map(([id, deliveries]) => ({ id, deliveries }))))

const fail = statement<{ outcome: string }>(
  'webhook_events_fail',
  (t) => sql`insert into ${t(webhookEvents)} as e
    (id, type, object_id, instance_id, event_at, outcome, error, payload, user_id)
  values (${$(1)}, ${$(2)}, ${$(3)}, ${$(4)}, to_timestamp(${$(5)}::float8 / 1000), 'failed', ${$(6)},
    case when not ${isAboutErased(t, sql`${$(8)}::text`, sql`to_timestamp(${$(5)}::float8 / 1000)`)} then ${$(7)}::text end,
    ${$(8)}::text)
  on conflict (id) do update set attempts = e.attempts + 1, last_received_at = now(),
    error = case when e.outcome = 'failed' then excluded.error else e.error end,
    payload = case when e.outcome = 'failed' then excluded.payload else e.payload end
  returning e.outcome`,
)

/**
 * Stores a message that cannot be used as failed, with the reason, for a replay; without its payload if the user is deleted. A
 * message that was applied before stays so. Resolves to whether that is the case.
 */
export async function failMessage(pool: Pool, message: Message, reason: string): Promise<boolean> {
  const { id, type, objectId, instanceId, eventAt, payload, userId } = message
  const failed = fail.call(id, type, objectId, instanceId, eventAt, reason, payload, userId)
  // The lock waits for a concurrent deletion; a later deletion will find the payload and erase it.
  await pool.transact([...(userId ? [lockObjects.call([`user ${userId}`])] : []), failed])
  return !['failed', 'superseded', 'discarded'].includes(failed.rows[0]?.outcome as string)
}

const discard = statement<{ id: string }>(
  'webhook_events_discard',
  (t) => sql`update ${t(webhookEvents)} set outcome = 'discarded', payload = null
  where id = any(${$(1)}::text[]) and outcome = 'failed' returning id`,
)

/** Discards failed messages and their payloads for good. Returns the ids of those that were failed. */
export const discardMessages = async (executor: Executor, ids: readonly string[]): Promise<string[]> =>
  (await discard(executor, ids)).map(({ id }) => id)

const supersede = statement<{ id: string }>(
  'webhook_events_supersede',
  (t) => sql`update ${t(webhookEvents)} set outcome = 'superseded', payload = null where id in (
    select e.id from ${t(webhookEvents)} e where e.outcome = 'failed' and (${isSuperseded(t)})
    order by e.id limit ${sql.raw(String(PRUNE_BATCH))} for update of e skip locked)
  returning id`,
)

/** Marks failed messages that a newer state has superseded, and removes their payloads. Returns how many. */
export async function supersedeMessages(executor: Executor): Promise<number> {
  let superseded = 0
  for (;;) {
    const rows = await supersede(executor)
    superseded += rows.length
    if (rows.length < PRUNE_BATCH) return superseded
  }
}

/** Deletes messages that are older than the retention (see pruning.ts). Returns how many. */
export const pruneMessages = pruning('webhook_events_prune', webhookEvents, sql`received_at`)
