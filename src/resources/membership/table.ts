import { index, jsonb, text } from '../../db/drizzle.ts'
import { type MakeTable, makeTable, time } from '../../db/table.ts'
import { versionColumns } from '../../db/versioned.ts'
import type { JsonObject } from '../../domain/clean.ts'

/** One row per membership; joining again creates another one. No foreign keys, because events arrive in any order. */
export const organizationMembershipsIn = (table: MakeTable) =>
  table(
    'organization_memberships',
    {
      /** Clerk's `orgmem_…`. */
      id: text('id').primaryKey(),
      /** Null only if the only event was the end of an unknown membership. */
      organizationId: text('organization_id'),
      userId: text('user_id'),
      role: text('role'),
      /** The role's permissions when Clerk sent the membership; `living_memberships` has the current ones. */
      permissions: text('permissions').array().notNull().default([]),
      publicMetadata: jsonb('public_metadata').$type<JsonObject>().notNull().default({}),
      ...versionColumns(),
      syncSource: text('sync_source').notNull(),
      createdAt: time('created_at').notNull().defaultNow(),
      updatedAt: time('updated_at').notNull().defaultNow(),
      /** Its own end. */
      deletedAt: time('deleted_at'),
      /** Its own end, otherwise that of its user or its organization. */
      endedAt: time('ended_at'),
    },
    (table) => [
      index('organization_memberships_user_idx').on(table.userId, table.organizationId),
      index('organization_memberships_organization_idx').on(table.organizationId),
    ],
  )

export const organizationMemberships = organizationMembershipsIn(makeTable)
