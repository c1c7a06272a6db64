/** Resets a row's version that is newer than Clerk's own: the upsert would otherwise refuse every snapshot as older. */
import { sql } from '../../db/drizzle.ts'
import { $, statement } from '../../db/statement.ts'
import type { Version } from '../../domain/version.ts'
import type { UserSnapshot } from './change.ts'
import { users } from './table.ts'

// Locks rows in the order of ids, like every other writer. Rows that were written since the version was read stay unchanged.
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
    for no key update of u)
  update ${t(users)} u set clerk_updated_at = to_timestamp(wrong.updated_at / 1000), clerk_event_at = null
  from wrong where u.id = wrong.id`,
)

/** Makes the call that resets the versions of rows to those of these snapshots, if the rows still have the version to correct. */
export function rewindVersions(snapshots: UserSnapshot[]) {
  const rows = snapshots.map(({ id, version, corrects }) => ({
    id,
    updated_at: version.updatedAt,
    wrong_updated_at: (corrects as Version).updatedAt,
    wrong_event_at: (corrects as Version).eventAt,
  }))
  return rewind.call(JSON.stringify(rows))
}
