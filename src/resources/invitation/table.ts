import { index, text } from '../../db/drizzle.ts'
import { type MakeTable, makeTable, time } from '../../db/table.ts'
import { versionColumns } from '../../db/versioned.ts'

/** One row per invitation to an organization. */
export const organizationInvitationsIn = (table: MakeTable) =>
  table(
    'organization_invitations',
    {
      id: text('id').primaryKey(),
      organizationId: text('organization_id'),
      /** Null after the user who accepted it was deleted. */
      email: text('email'),
      role: text('role'),
      status: text('status'),
      userId: text('user_id'),
      ...versionColumns(),
      syncSource: text('sync_source').notNull(),
      createdAt: time('created_at').notNull().defaultNow(),
      updatedAt: time('updated_at').notNull().defaultNow(),
      deletedAt: time('deleted_at'),
    },
    (table) => [
      index('organization_invitations_organization_idx').on(table.organizationId),
      index('organization_invitations_user_idx').on(table.userId),
    ],
  )

export const organizationInvitations = organizationInvitationsIn(makeTable)
