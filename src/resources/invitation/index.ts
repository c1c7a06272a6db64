import { sql } from '../../db/drizzle.ts'
import { $, statement } from '../../db/statement.ts'
import { versionedResource } from '../../db/versioned.ts'
import { deletedUserOf } from '../user/change.ts'
import { users } from '../user/table.ts'
import { invitationEvents } from './change.ts'
import { organizationInvitations } from './table.ts'

const erase = statement(
  'invitations_erase',
  (t) => sql`with erased as (
    select id from ${t(organizationInvitations)} where user_id = any(${$(1)}::text[]) and email is not null
    order by id for no key update)
  update ${t(organizationInvitations)} r set email = null, updated_at = now() from erased where r.id = erased.id`,
)

export const invitation = versionedResource({
  name: 'invitation',
  table: organizationInvitations,
  events: invitationEvents,
  inFeed: {
    entity: 'invitation',
    visible: [
      organizationInvitations.organizationId,
      organizationInvitations.email,
      organizationInvitations.role,
      organizationInvitations.status,
      organizationInvitations.userId,
    ],
    isThere: (row) => `${row}.status is distinct from 'revoked' and ${row}.deleted_at is null`,
    owners: [organizationInvitations.userId, organizationInvitations.organizationId],
  },
  // The user who accepted it may be deleted concurrently, and then the email address must not be stored.
  locksOf: ({ invitation }) => (invitation?.data.userId ? [`user ${invitation.data.userId}`] : []),
  endedBy: [{ idOf: deletedUserOf, column: organizationInvitations.userId }],
  derived: {
    from: (t) =>
      sql`left join ${t(users)} u on u.id = i.user_id and u.deleted_at is not null and u.sync_source <> 'clerk_api'`,
    columns: { email: sql`case when u.id is null then i.email end` },
  },
  rank: (row) => `${row}.status <> 'pending'`,
  endings(changes) {
    const deleted = changes.flatMap((change) => deletedUserOf(change) ?? [])
    return deleted.length > 0 ? [erase.call(deleted)] : []
  },
})
