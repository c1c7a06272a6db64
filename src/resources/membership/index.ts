import { sql } from '../../db/drizzle.ts'
import { $, type Qualify, statement } from '../../db/statement.ts'
import { versionedResource } from '../../db/versioned.ts'
import type { Change } from '../../domain/change.ts'
import { deletedOrganizationOf } from '../organization/change.ts'
import { organizations } from '../organization/table.ts'
import { deletedUserOf } from '../user/change.ts'
import { users } from '../user/table.ts'
import { membershipEvents } from './change.ts'
import { organizationMemberships } from './table.ts'

// An inferred deletion can be undone, so it does not end memberships; a deleted user is refused in any case.
const tombstones = (t: Qualify, row: 'i' | 'm') => {
  const of = sql.raw(row)
  return sql`left join ${t(users)} u on u.id = ${of}.user_id and u.deleted_at is not null and u.sync_source <> 'clerk_api'
  left join ${t(organizations)} o on o.id = ${of}.organization_id and o.deleted_at is not null and o.sync_source <> 'clerk_api'`
}

// Deletions of users and of organizations end memberships. Rows are locked in the order of ids, like every other writer.
const end = statement(
  'memberships_end',
  (t) => sql`with ended as (
    select m.id, least(u.deleted_at, o.deleted_at) as ended_at
    from ${t(organizationMemberships)} m ${tombstones(t, 'm')}
    where (m.user_id = any(${$(1)}::text[]) or m.organization_id = any(${$(2)}::text[])) and m.deleted_at is null
    order by m.id
    for no key update of m)
  update ${t(organizationMemberships)} m set ended_at = ended.ended_at, public_metadata = '{}', updated_at = now()
  from ended where m.id = ended.id and m.ended_at is distinct from ended.ended_at`,
)

/** Users and organizations are written first: a membership must see their tombstones, and their deletions end existing memberships. */
function endings(changes: readonly Change[]) {
  const users = changes.flatMap((change) => deletedUserOf(change) ?? [])
  const organizations = changes.flatMap((change) => deletedOrganizationOf(change) ?? [])
  return users.length + organizations.length > 0 ? [end.call(users, organizations)] : []
}

// Whether it has ended; the exact time is `ended_at` below.
const endedAt = sql`coalesce(to_timestamp(i.deleted_at / 1000), u.deleted_at, o.deleted_at)`

export const membership = versionedResource({
  name: 'membership',
  table: organizationMemberships,
  events: membershipEvents,
  inFeed: {
    entity: 'membership',
    visible: [
      organizationMemberships.organizationId,
      organizationMemberships.userId,
      organizationMemberships.role,
      organizationMemberships.permissions,
      organizationMemberships.publicMetadata,
    ],
    isThere: (row) => `${row}.ended_at is null and ${row}.deleted_at is null`,
    owners: [organizationMemberships.userId, organizationMemberships.organizationId],
  },
  // Writing a membership does not lock the row of a known user. This lock makes it and the deletion of its user wait for each other:
  // the membership sees the tombstone, or the deletion ends it, and no payload about the user stays stored.
  locksOf: ({ membership }) => (membership?.data.userId ? [`user ${membership.data.userId}`] : []),
  endedBy: [
    { idOf: deletedUserOf, column: organizationMemberships.userId },
    { idOf: deletedOrganizationOf, column: organizationMemberships.organizationId },
  ],
  derived: {
    from: (t) => tombstones(t, 'i'),
    columns: {
      ended_at: sql`coalesce(to_timestamp(i.deleted_at / 1000), least(u.deleted_at, o.deleted_at))`,
      public_metadata: sql`case when ${endedAt} is null then i.public_metadata else '{}' end`,
    },
  },
  endings,
})
