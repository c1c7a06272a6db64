/** Erasure: the ledger keeps no payload about a deleted user. */
import { type SQL, sql } from '../../db/drizzle.ts'
import { webhookEvents } from '../../db/schema.ts'
import { $, type Qualify, statement } from '../../db/statement.ts'
import { users } from './table.ts'

/**
 * Whether the user `u` is deleted, so that no payload of the time `at` may be kept. After an inferred deletion later payloads may
 * be kept, because they undo the deletion.
 */
export const isErased = (at: SQL): SQL =>
  sql`(u.deleted_at is not null and (u.sync_source <> 'clerk_api' or ${at} <= u.deleted_at))`

/** Whether the payload of a message about this user, of this time, must not be stored. */
export const isAboutErased = (t: Qualify, userId: SQL, at: SQL): SQL =>
  sql`exists (select 1 from ${t(users)} u where u.id = ${userId} and ${isErased(at)})`

// Locks rows in the order of ids, like every other writer of the ledger.
const erase = statement(
  'webhook_events_erase',
  (t) => sql`with about as (
    select e.id from ${t(webhookEvents)} e join ${t(users)} u on u.id = e.user_id
    where e.user_id = any(${$(1)}::text[]) and e.payload is not null and ${isErased(sql`e.event_at`)}
    order by e.id for update of e)
  update ${t(webhookEvents)} e set payload = null from about where e.id = about.id`,
)

/** Makes the call that removes the payloads about these users if they are deleted. */
export const erasePayloadsAbout = (userIds: string[]) => erase.call(userIds)
