import { index, jsonb, text } from 'drizzle-orm/pg-core'
import { type MakeTable, makeTable, time } from '../../db/table.ts'
import { versionColumns } from '../../db/versioned.ts'
import type { JsonObject } from '../../domain/clean.ts'

/** One row a membership. Joining again is another one. No foreign keys: events come in any order. */
export const organizationMembershipsIn = (table: MakeTable) =>
  table(
    'organization_memberships',
    {
      /** Clerk's `orgmem_…`. */
      id: text('id').primaryKey(),
      /** Null only where all that was heard is the end of an unknown membership. */
      organizationId: text('organization_id'),
      userId: text('user_id'),
      role: text('role'),
      /** Those of the role when Clerk sent the membership; `living_memberships` has those of now. */
      permissions: text('permissions').array().notNull().default([]),
      publicMetadata: jsonb('public_metadata').$type<JsonObject>().notNull().default({}),
      ...versionColumns(),
      syncSource: text('sync_source').notNull(),
      createdAt: time('created_at').notNull().defaultNow(),
      updatedAt: time('updated_at').notNull().defaultNow(),
      /** Its own end. */
      deletedAt: time('deleted_at'),
      /** Its own end, else that of its user or its organization. */
      endedAt: time('ended_at'),
    },
    (table) => [
      index('organization_memberships_user_idx').on(table.userId, table.organizationId),
      index('organization_memberships_organization_idx').on(table.organizationId),
    ],
  )

export const organizationMemberships = organizationMembershipsIn(makeTable)
