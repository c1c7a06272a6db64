import { sql } from '../../db/drizzle.ts'
import type { InLedger, Resource, Writing } from '../../db/resource.ts'
import { sqlTimeOf } from '../../db/statement.ts'
import type { Change } from '../../domain/change.ts'
import { newestById } from '../../domain/version.ts'
import { deletedUserOf } from '../user/change.ts'
import { FINAL_SESSION_STATUSES, isLaterState, type SessionState, sessionEvents } from './change.ts'
import { sessions } from './table.ts'
import { endSessionsOf, upsertSessions } from './upsert.ts'

const inLedger: InLedger<SessionState> = {
  columns: { session_id: 'text', session_at: 'float8', session_event_at: 'float8', session_status: 'text' },
  input: ({ id, version, status }) => ({
    session_id: id,
    session_at: version.updatedAt,
    session_event_at: version.eventAt,
    session_status: status,
  }),
  isCurrent: (t) => sql`(select s.clerk_updated_at = ${sqlTimeOf('session_at')}
    and s.clerk_event_at is not distinct from ${sqlTimeOf('session_event_at')}
    and (s.status = i.session_status or s.ended_by_deletion)
    from ${t(sessions)} s where s.id = i.session_id)`,
  isSuperseded: (t) => sql`exists (select 1 from ${t(sessions)} s where s.id = e.object_id
    and greatest(s.clerk_updated_at, s.clerk_event_at) > e.event_at)`,
}

export const session: Resource<SessionState> = {
  name: 'session',
  table: sessions,
  events: sessionEvents,
  // If the user is in the same change, the lock on the user's row already orders it with a deletion.
  locksOf: ({ user, session }) => (session && session.userId !== user?.id ? [`user ${session.userId}`] : []),
  endedBy: [{ idOf: deletedUserOf, column: sessions.userId }],
  write,
  inLedger,
  inFeed: {
    entity: 'session',
    visible: [sessions.userId, sessions.status, sessions.clientId],
    isThere: (row) => `${row}.status not in (${FINAL_SESSION_STATUSES.map((status) => `'${status}'`).join(', ')})`,
    owners: [sessions.userId],
  },
}

/**
 * Users are written first: a session must see the tombstone of its user, and a deletion ends existing sessions. An inferred deletion
 * leaves sessions unchanged: the user is refused while deleted, and if it is undone the sessions still have Clerk's state.
 */
function write(changes: readonly Change[]): Writing {
  const deleted = changes.flatMap((change) => deletedUserOf(change) ?? [])
  const winners = newestById(
    changes.flatMap(({ session }) => session ?? []),
    isLaterState,
  )
  const upsert = winners.length > 0 ? upsertSessions(winners) : undefined
  return {
    calls: [...(deleted.length > 0 ? [endSessionsOf(deleted)] : []), ...(upsert ? [upsert] : [])],
    written() {
      const ids = new Set(upsert?.rows.map(({ id }) => id))
      return new Map(winners.filter(({ id }) => ids.has(id)).map((state) => [state, { created: false }]))
    },
  }
}
