import { index, text } from '../../db/drizzle.ts'
import { type MakeTable, makeTable, time } from '../../db/table.ts'
import { versionColumns } from '../../db/versioned.ts'

/** One row per role of the instance, including tombstones. Another role may reuse a key. */
export const organizationRolesIn = (table: MakeTable) =>
  table(
    'organization_roles',
    {
      id: text('id').primaryKey(),
      /** `org:admin`; null in a tombstone. */
      key: text('key'),
      name: text('name'),
      permissions: text('permissions').array().notNull().default([]),
      ...versionColumns(),
      syncSource: text('sync_source').notNull(),
      createdAt: time('created_at').notNull().defaultNow(),
      updatedAt: time('updated_at').notNull().defaultNow(),
      deletedAt: time('deleted_at'),
    },
    (table) => [index('organization_roles_key_idx').on(table.key)],
  )

export const organizationRoles = organizationRolesIn(makeTable)
