/** The way back for a version that Clerk does not have: a guard would keep every snapshot out for as long as it stands. */
import { sql } from 'drizzle-orm'
import { $, statement } from '../../db/statement.ts'
import type { Version } from '../../domain/version.ts'
import type { UserSnapshot } from './change.ts'
import { users } from './table.ts'

// Locked in the order of ids, as by every other writer. What was written since the version was read stays as it is.
const rewind = statement(
  'users_rewind',
  (t) => sql`with wrong as (
    select u.id, i.updated_at
    from ${t(users)} u
    join json_to_recordset(${$(1)}::json) as i(id text, updated_at float8, wrong_updated_at float8, wrong_event_at float8)
      on i.id = u.id
    where u.deleted_at is null
      and u.clerk_updated_at = to_timestamp(i.wrong_updated_at / 1000)
      and u.clerk_event_at is not distinct from to_timestamp(i.wrong_event_at / 1000)
    order by u.id
    for update of u)
  update ${t(users)} u set clerk_updated_at = to_timestamp(wrong.updated_at / 1000), clerk_event_at = null
  from wrong where u.id = wrong.id`,
)

/** The statement that sets the versions which these snapshots correct back to theirs, where the rows still have them. */
export function rewindVersions(snapshots: UserSnapshot[]) {
  const rows = snapshots.map(({ id, version, corrects }) => ({
    id,
    updated_at: version.updatedAt,
    wrong_updated_at: (corrects as Version).updatedAt,
    wrong_event_at: (corrects as Version).eventAt,
  }))
  return rewind.call(JSON.stringify(rows))
}
