import { jsonb, text } from '../../db/drizzle.ts'
import { type MakeTable, makeTable, time } from '../../db/table.ts'
import { versionColumns } from '../../db/versioned.ts'
import type { JsonObject } from '../../domain/clean.ts'

/** One row per organization, including tombstones. `slug` is not unique, because events about a reused slug may arrive out of order. */
export const organizationsIn = (table: MakeTable) =>
  table('organizations', {
    id: text('id').primaryKey(),
    /** Null in a tombstone, like all columns below. */
    name: text('name'),
    slug: text('slug'),
    imageUrl: text('image_url'),
    publicMetadata: jsonb('public_metadata').$type<JsonObject>().notNull().default({}),
    /** The id of the user who created it. */
    createdBy: text('created_by'),
    ...versionColumns(),
    syncSource: text('sync_source').notNull(),
    createdAt: time('created_at').notNull().defaultNow(),
    updatedAt: time('updated_at').notNull().defaultNow(),
    deletedAt: time('deleted_at'),
  })

export const organizations = organizationsIn(makeTable)
