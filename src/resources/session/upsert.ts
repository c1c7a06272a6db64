/** The SQL of `sessions`. */
import { sql } from '../../db/drizzle.ts'
import { pruning } from '../../db/pruning.ts'
import { $, type Executor, statement } from '../../db/statement.ts'
import { users } from '../user/table.ts'
import type { SessionState } from './change.ts'
import { FINAL_SQL, sessions } from './table.ts'

const isEndedByDeletion = sql`(u.id is not null and i.status not in ${FINAL_SQL})`

// Rows compare from left to right: a final state beats any other, then the newer one, then (the same everywhere) the name.
// Ended by a deletion is weaker than ended by an event: otherwise the final status would depend on the order of arrival.
const rank = (row: 's' | 'excluded') => {
  const r = sql.raw(row)
  return sql`(${r}.status in ${FINAL_SQL} and not ${r}.ended_by_deletion,
    ${r}.clerk_updated_at, coalesce(${r}.clerk_event_at, '-infinity'), ${r}.status)`
}

const upsert = statement<{ id: string }>(
  'sessions_upsert',
  (t) => sql`insert into ${t(sessions)} as s (id, user_id, client_id, status, ended_by_deletion,
    clerk_created_at, clerk_updated_at, clerk_event_at, last_active_at, expire_at, abandon_at)
  select i.id, i.user_id, i.client_id, case when ${isEndedByDeletion} then 'ended' else i.status end, ${isEndedByDeletion},
    to_timestamp(i.clerk_created_at / 1000), to_timestamp(i.clerk_updated_at / 1000), to_timestamp(i.clerk_event_at / 1000),
    to_timestamp(i.last_active_at / 1000), to_timestamp(i.expire_at / 1000), to_timestamp(i.abandon_at / 1000)
  from json_to_recordset(${$(1)}::json) as i(id text, user_id text, client_id text, status text,
    clerk_created_at float8, clerk_updated_at float8, clerk_event_at float8,
    last_active_at float8, expire_at float8, abandon_at float8)
  left join ${t(users)} u on u.id = i.user_id and u.deleted_at is not null and u.sync_source <> 'clerk_api'
  order by i.id
  on conflict (id) do update set
    user_id = excluded.user_id, client_id = excluded.client_id, status = excluded.status,
    ended_by_deletion = excluded.ended_by_deletion, clerk_created_at = excluded.clerk_created_at,
    clerk_updated_at = excluded.clerk_updated_at, clerk_event_at = excluded.clerk_event_at,
    last_active_at = excluded.last_active_at, expire_at = excluded.expire_at, abandon_at = excluded.abandon_at,
    updated_at = now()
  where ${rank('excluded')} >= ${rank('s')}
  returning s.id`,
)

/** The statement that applies at most one state an id. Its rows name those written; a deleted user's is stored as ended. */
export const upsertSessions = (states: SessionState[]) =>
  upsert.call(
    JSON.stringify(
      states.map((state) => ({
        id: state.id,
        user_id: state.userId,
        client_id: state.clientId,
        status: state.status,
        clerk_created_at: state.createdAt,
        clerk_updated_at: state.version.updatedAt,
        clerk_event_at: state.version.eventAt,
        last_active_at: state.lastActiveAt,
        expire_at: state.expireAt,
        abandon_at: state.abandonAt,
      })),
    ),
  )

const end = statement(
  'sessions_end',
  (t) => sql`update ${t(sessions)} set status = 'ended', ended_by_deletion = true, updated_at = now()
  where user_id = any(${$(1)}::text[]) and status not in ${FINAL_SQL}`,
)

/** The statement that ends every session of these users that is not over yet. */
export const endSessionsOf = (userIds: string[]) => end.call(userIds)

const pruneFinal = pruning('sessions_prune', sessions, sql`updated_at`, sql`status in ${FINAL_SQL}`)
// Clerk sends no event for most of these, but they are past every time at which Clerk ends a session.
const pruneLapsed = pruning(
  'sessions_prune_lapsed',
  sessions,
  sql`greatest(expire_at, abandon_at)`,
  sql`status not in ${FINAL_SQL}`,
)

/** Deletes sessions that have been over, by an event or by their times, for more than so many days. Returns how many. */
export async function pruneSessions(executor: Executor, retentionDays: number): Promise<number> {
  return (await pruneFinal(executor, retentionDays)) + (await pruneLapsed(executor, retentionDays))
}
