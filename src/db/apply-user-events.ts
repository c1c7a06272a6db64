/**
 * Batches of webhooks that tell of nothing but users, in one statement: it is a transaction of its own, and one round trip.
 */
import { getTableName, sql } from 'drizzle-orm'
import pg from 'pg'
import type { Change, Message } from '../domain/change.ts'
import type { UserSnapshot } from '../domain/user.ts'
import { isNewer, newestById } from '../domain/version.ts'
import type { AppliedChange } from './apply-changes.ts'
import { webhookEvents } from './schema.ts'
import { $, type Executor, statement } from './statement.ts'
import { SNAPSHOT_INPUT, toRow as toUserRow, upsertSnapshotsFrom } from './users.ts'
import { MESSAGE_INPUT, toRow as toMessageRow } from './webhook-events.ts'

/** A message and what it says of a user. */
export interface UserEvent extends Change {
  message: Message
  user: UserSnapshot
}

/** Whether the one statement will do: no message comes twice, and none speaks of more than a user. */
export function areUserEvents(changes: Change[]): changes is UserEvent[] {
  const ids = new Set(changes.map(({ message }) => message?.id))
  return (
    ids.size === changes.length &&
    changes.every(
      ({ message, user, session }) => message && user?.kind === 'snapshot' && !user.corrects && session === undefined,
    )
  )
}

// Locks are taken in the order of repository.ts: users first. The ledger takes no message twice: one that was applied or
// has failed before is an error, which undoes all of it. The outcome is decided here for the ledger as below for the caller.
const apply = statement<{ id: string; created: boolean }>(
  'user_events_apply',
  sql`with i as (select * from json_to_recordset(${$(1)}::json) as i(message_id text, ${MESSAGE_INPUT},
      is_newest boolean, is_superseded boolean, ${SNAPSHOT_INPUT})),
  written as (${upsertSnapshotsFrom(sql`i where i.is_newest`)}),
  entered as (insert into ${webhookEvents} (id, type, object_id, event_at, outcome, processed_at, payload)
    select i.message_id, i.type, i.object_id, to_timestamp(i.event_at / 1000),
      case when written.id is null or i.is_superseded then 'stale' else 'applied' end, now(), i.payload
    from i left join written on written.id = i.id
    order by i.message_id)
  select id, created from written`,
)

/** Whether the events were refused because a message of them is in the ledger already. */
export const isRepeatedMessage = (error: unknown): boolean =>
  error instanceof pg.DatabaseError && error.code === '23505' && error.table === getTableName(webhookEvents)

/**
 * Applies the events and enters their messages, one result each, in their order. Nothing is applied when it rejects: with
 * `isRepeatedMessage`, or with what any write is refused for.
 */
export async function applyUserEvents(
  executor: Executor,
  events: UserEvent[],
  storePayloads: boolean,
): Promise<AppliedChange[]> {
  const winners = new Map(
    newestById(
      events.map(({ user }) => user),
      isNewerUser,
    ).map((user) => [user.id, user]),
  )
  const standing = events.map(({ message, user }) => {
    const winner = winners.get(user.id) as UserSnapshot
    return { message, user, isNewest: winner === user, isSuperseded: isNewerUser(winner, user) }
  })
  const rows = standing.map(({ message, user, isNewest, isSuperseded }) => {
    const { id: message_id, ...rest } = toMessageRow(message, storePayloads)
    const columns = isNewest ? toUserRow(user) : { id: user.id }
    return { ...columns, ...rest, message_id, is_newest: isNewest, is_superseded: isSuperseded }
  })
  const written = new Map((await apply(executor, JSON.stringify(rows))).map(({ id, created }) => [id, created]))
  return standing.map(({ user: { id }, isNewest, isSuperseded }) => ({
    outcome: written.has(id) && !isSuperseded ? 'applied' : 'stale',
    created: isNewest && written.get(id) === true,
  }))
}

const isNewerUser = (a: UserSnapshot, b: UserSnapshot) => isNewer(a.version, b.version)
