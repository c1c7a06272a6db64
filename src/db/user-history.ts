/** The row, sessions and recent events of one user, for operators. */

import { sessions } from '../resources/session/table.ts'
import { users } from '../resources/user/table.ts'
import { sql } from './drizzle.ts'
import { recentEvents } from './ledger-types.ts'
import { $, type Executor, statement } from './statement.ts'

export interface UserHistory {
  /** All columns of the row; times as ISO 8601. */
  row: Record<string, unknown> | undefined
  sessions: Record<string, unknown>[]
  /** The newest events of the user and of those sessions, among the newest 100,000 of the ledger. */
  events: Record<string, unknown>[]
}

const LAST = sql.raw('20')

const selectRow = statement<{ row: Record<string, unknown> }>(
  'user_row',
  (t) => sql`select to_jsonb(u) as row from ${t(users)} u where id = ${$(1)}`,
)
const selectSessions = statement<{ row: Record<string, unknown> }>(
  'user_sessions',
  (t) =>
    sql`select to_jsonb(s) as row from ${t(sessions)} s where user_id = ${$(1)} order by clerk_updated_at desc limit ${LAST}`,
)
// Scans the newest events, because an index on the object id would slow down every webhook.
const selectEvents = statement<{ row: Record<string, unknown> }>(
  'user_events',
  (t) => sql`select to_jsonb(e) - 'payload' as row from ${recentEvents(t)} e
  where object_id = any(${$(1)}::text[]) order by received_at desc limit ${LAST}`,
)

/** The user's row, and the newest 20 sessions and events, without payloads. */
export async function findUserHistory(executor: Executor, id: string): Promise<UserHistory> {
  const [row] = await selectRow(executor, id)
  const theirs = (await selectSessions(executor, id)).map(({ row }) => row)
  const events = await selectEvents(executor, [id, ...theirs.map((session) => session.id)])
  return { row: row?.row, sessions: theirs, events: events.map(({ row }) => row) }
}
