/** The SQL of `sessions`. Whoever writes a session holds the lock of its user (see repository.ts). */
import { sql } from 'drizzle-orm'
import { FINAL_SESSION_STATUSES, type SessionState } from '../domain/session.ts'
import { pruning } from './pruning.ts'
import { sessions, users } from './schema.ts'
import { $, bare, type Executor, excluded, IN_TRANSACTION, list, statement } from './statement.ts'

const FINAL = sql.raw(`(${FINAL_SESSION_STATUSES.map((status) => `'${status}'`).join(', ')})`)

const TIMES = [
  sessions.clerkCreatedAt,
  sessions.clerkUpdatedAt,
  sessions.clerkEventAt,
  sessions.lastActiveAt,
  sessions.expireAt,
  sessions.abandonAt,
]
const isNull = sql.raw(`'-infinity'`)
const isEndedByDeletion = sql`(u.id is not null and i.status not in ${FINAL})`
const rank = (row: 's' | 'excluded') => {
  const r = sql.raw(row)
  return sql`(${r}.status in ${FINAL} and not ${r}.ended_by_deletion, ${r}.clerk_updated_at, coalesce(${r}.clerk_event_at, ${isNull}), ${r}.status)`
}

// Rows compare from left to right: a final state beats any other, then the newer one, then (the same everywhere) the name.
// An end that only the user's deletion brought is none that Clerk told of, or the order of arrival would decide.
const upsert = statement<{ id: string }>(
  'sessions_upsert',
  sql`insert into ${sessions} as s (id, user_id, client_id, status, ended_by_deletion, ${list(TIMES.map(bare))})
  select i.id, i.user_id, i.client_id,
    case when ${isEndedByDeletion} then 'ended' else i.status end, ${isEndedByDeletion},
    ${list(TIMES.map((column) => sql`to_timestamp(i.${bare(column)} / 1000)`))}
  from json_to_recordset(${$(1)}::json) as i(id text, user_id text, client_id text, status text,
    ${list(TIMES.map((column) => sql`${bare(column)} float8`))})
  left join ${users} u on u.id = i.user_id and u.deleted_at is not null
  where ${IN_TRANSACTION}
  order by i.id
  on conflict (id) do update set
    user_id = excluded.user_id,
    client_id = excluded.client_id,
    status = excluded.status,
    ended_by_deletion = excluded.ended_by_deletion,
    ${list(TIMES.map((column) => sql`${bare(column)} = ${excluded(column)}`))},
    updated_at = now()
  where ${rank('excluded')} >= ${rank('s')}
  returning s.id`,
)

/** Applies at most one state an id; a session of a deleted user is stored as ended. Returns the ids that were written. */
export async function upsertSessions(executor: Executor, states: SessionState[]): Promise<Set<string>> {
  const rows = await upsert(
    executor,
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
  return new Set(rows.map(({ id }) => id))
}

const end = statement(
  'sessions_end',
  sql`update ${sessions} set status = 'ended', ended_by_deletion = true, updated_at = now()
  where user_id = any(${$(1)}::text[]) and status not in ${FINAL}`,
)

/** Ends every session of these users that is not over yet. */
export async function endSessionsOf(executor: Executor, userIds: string[]): Promise<void> {
  if (userIds.length === 0) return
  await end(executor, userIds)
}

/** Deletes sessions that have been over for more than so many days (see pruning.ts). Returns how many. */
export const pruneSessions = pruning('sessions_prune', sessions, sessions.updatedAt, sql`status in ${FINAL}`)
