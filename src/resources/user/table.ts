import { sql } from 'drizzle-orm'
import { boolean, index, jsonb, text } from 'drizzle-orm/pg-core'
import { type MakeTable, makeTable, time } from '../../db/table.ts'
import type { JsonObject } from '../../domain/clean.ts'

/** One row a user, tombstones included. `email` is not unique: Clerk guards that, here it would turn reordering into failure. */
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
      /** Clerk's `external_id`: the id that the user had before a migration to Clerk. */
      externalId: text('external_id'),
      /** The primary one. */
      phoneNumber: text('phone_number'),
      banned: boolean('banned').notNull().default(false),
      /** For a while, after too many attempts to sign in. */
      locked: boolean('locked').notNull().default(false),
      /** Restricted from signing in by a directory sync. */
      deprovisioned: boolean('deprovisioned').notNull().default(false),
      /** Null unless SYNC_METADATA names them. */
      unsafeMetadata: jsonb('unsafe_metadata').$type<JsonObject>(),
      privateMetadata: jsonb('private_metadata').$type<JsonObject>(),
      clerkCreatedAt: time('clerk_created_at'),
      /** The version: Clerk's `updated_at`; null while only claims are known. */
      clerkUpdatedAt: time('clerk_updated_at'),
      /** The version between equals: the timestamp of the event's envelope; null for the Backend API. */
      clerkEventAt: time('clerk_event_at'),
      /** When the Backend API was last asked for what was written: what dates a user against an inferred deletion. */
      clerkAskedAt: time('clerk_asked_at'),
      /** The age of the newest claims applied, and the columns that claims have named so far. */
      claimsIssuedAt: time('claims_issued_at'),
      claimsColumns: text('claims_columns').array(),
      syncSource: text('sync_source').notNull(),
      createdAt: time('created_at').notNull().defaultNow(),
      /** Moves only when something above changed that a user of the row can see. */
      updatedAt: time('updated_at').notNull().defaultNow(),
      /** With `sync_source` = `clerk_api` the deletion was inferred, and can be undone; else it is final. */
      deletedAt: time('deleted_at'),
    },
    (table) => [
      // A hash: a btree would refuse addresses beyond 2,704 bytes.
      index('users_email_idx').using('hash', table.email),
      // The catch-up counts who was created when: the index answers without the rows.
      index('users_created_idx').on(table.clerkCreatedAt).where(sql`deleted_at is null`),
    ],
  )

export const users = usersIn(makeTable)
