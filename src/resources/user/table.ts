import { boolean, index, jsonb, sql, text } from '../../db/drizzle.ts'
import { type MakeTable, makeTable, time } from '../../db/table.ts'
import type { JsonObject } from '../../domain/clean.ts'

/** One row per user, including tombstones. `email` is not unique: Clerk ensures that, and here reordered events would fail. */
export const usersIn = (table: MakeTable) =>
  table(
    'users',
    {
      id: text('id').primaryKey(),
      email: text('email'),
      emailVerified: boolean('email_verified'),
      firstName: text('first_name'),
      lastName: text('last_name'),
      username: text('username'),
      imageUrl: text('image_url'),
      publicMetadata: jsonb('public_metadata').$type<JsonObject>().notNull().default({}),
      lastSignInAt: time('last_sign_in_at'),
      /** Clerk's `external_id`: the user's id in another system. */
      externalId: text('external_id'),
      /** The primary phone number. */
      phoneNumber: text('phone_number'),
      banned: boolean('banned').notNull().default(false),
      /** Temporarily locked after too many attempts to sign in. */
      locked: boolean('locked').notNull().default(false),
      /** Deprovisioned by a directory sync, and not allowed to sign in. */
      deprovisioned: boolean('deprovisioned').notNull().default(false),
      /** Null unless SYNC_METADATA names them. */
      unsafeMetadata: jsonb('unsafe_metadata').$type<JsonObject>(),
      privateMetadata: jsonb('private_metadata').$type<JsonObject>(),
      clerkCreatedAt: time('clerk_created_at'),
      /** The version: Clerk's `updated_at`; null while only claims are known. */
      clerkUpdatedAt: time('clerk_updated_at'),
      /** Orders equal versions: the timestamp of the event's envelope; null for the Backend API. */
      clerkEventAt: time('clerk_event_at'),
      /** When the Backend API last returned the user, to compare with the time of an inferred deletion. */
      clerkAskedAt: time('clerk_asked_at'),
      /** The time of the newest applied claims, and the columns that claims have set so far. */
      claimsIssuedAt: time('claims_issued_at'),
      claimsColumns: text('claims_columns').array(),
      syncSource: text('sync_source').notNull(),
      createdAt: time('created_at').notNull().defaultNow(),
      /** Changes only if a column from `email` to `privateMetadata` changed, or the user was deleted or came back. */
      updatedAt: time('updated_at').notNull().defaultNow(),
      /** With `sync_source` = `clerk_api` the deletion was inferred and can be undone; otherwise it is final. */
      deletedAt: time('deleted_at'),
    },
    (table) => [
      // A hash index, because a btree refuses values beyond 2,704 bytes.
      index('users_email_idx').using('hash', table.email),
      // For the catch-up, which counts users by creation time with index-only scans.
      index('users_created_idx').on(table.clerkCreatedAt).where(sql`deleted_at is null`),
    ],
  )

export const users = usersIn(makeTable)
