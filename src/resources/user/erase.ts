/** Erasure: of a deleted user the ledger keeps no body. */
import { type SQL, sql } from 'drizzle-orm'
import { webhookEvents } from '../../db/schema.ts'
import { $, type Qualify, statement } from '../../db/statement.ts'
import { users } from './table.ts'

/**
 * Whether the user `u` is deleted, so that nothing of what was said at `at` may be kept. After an inferred deletion, what is dated
 * later may: it brings the user back.
 */
export const isErased = (at: SQL): SQL =>
  sql`(u.deleted_at is not null and (u.sync_source <> 'clerk_api' or ${at} <= u.deleted_at))`

/** Whether the body of a message about this user, of this time, must not be stored. */
export const isAboutErased = (t: Qualify, userId: SQL, at: SQL): SQL =>
  sql`exists (select 1 from ${t(users)} u where u.id = ${userId} and ${isErased(at)})`

// In the order of ids, as every other writer of the ledger locks them.
const erase = statement(
  'webhook_events_erase',
  (t) => sql`with about as (
    select e.id from ${t(webhookEvents)} e join ${t(users)} u on u.id = e.user_id
    where e.user_id = any(${$(1)}::text[]) and e.payload is not null and ${isErased(sql`e.event_at`)}
    order by e.id for update of e)
  update ${t(webhookEvents)} e set payload = null from about where e.id = about.id`,
)

/** The statement that removes the bodies about these users, where they are deleted by now. */
export const eraseBodiesAbout = (userIds: string[]) => erase.call(userIds)
