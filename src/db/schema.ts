/**
 * The tables. Other columns, indexes and foreign keys to `users.id` may be added by the application: the service names the
 * columns that it writes, never deletes a row of `users`, and never changes an id.
 */
import { sql } from 'drizzle-orm'
import { boolean, index, integer, jsonb, pgTable, text, timestamp } from 'drizzle-orm/pg-core'
import type { JsonObject } from '../domain/clean.ts'
import { FINAL_SESSION_STATUSES } from '../domain/session.ts'

// Milliseconds are what Clerk and JavaScript know.
const time = (name: string) => timestamp(name, { withTimezone: true, precision: 3 })

/** One row a user, tombstones included. `email` is not unique: Clerk guards that, here it would turn reordering into failure. */
export const users = pgTable(
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
    banned: boolean('banned').notNull().default(false),
    clerkCreatedAt: time('clerk_created_at'),
    /** The version: Clerk's `updated_at`; null while only claims are known. */
    clerkUpdatedAt: time('clerk_updated_at'),
    /** The version between equals: the timestamp of the event's envelope; null for the Backend API. */
    clerkEventAt: time('clerk_event_at'),
    /** The age of the newest claims applied, and the columns that claims have named so far. */
    claimsIssuedAt: time('claims_issued_at'),
    claimsColumns: text('claims_columns').array(),
    syncSource: text('sync_source').notNull(),
    createdAt: time('created_at').notNull().defaultNow(),
    /** Moves only when something above changed that a user of the row can see. */
    updatedAt: time('updated_at').notNull().defaultNow(),
    deletedAt: time('deleted_at'),
  },
  // A hash: a btree would refuse addresses beyond 2,704 bytes.
  (table) => [index('users_email_idx').using('hash', table.email)],
)

const isFinal = sql.raw(`status in (${FINAL_SESSION_STATUSES.map((status) => `'${status}'`).join(', ')})`)

/** One row a session that an event told of. No foreign key: events come in any order. */
export const sessions = pgTable(
  'sessions',
  {
    id: text('id').primaryKey(),
    userId: text('user_id').notNull(),
    status: text('status').notNull(),
    /** It is `ended` only because its user was deleted: what Clerk says of its end still counts for more. */
    endedByDeletion: boolean('ended_by_deletion').notNull().default(false),
    clientId: text('client_id'),
    clerkCreatedAt: time('clerk_created_at'),
    clerkUpdatedAt: time('clerk_updated_at').notNull(),
    clerkEventAt: time('clerk_event_at'),
    lastActiveAt: time('last_active_at'),
    expireAt: time('expire_at'),
    abandonAt: time('abandon_at'),
    createdAt: time('created_at').notNull().defaultNow(),
    updatedAt: time('updated_at').notNull().defaultNow(),
  },
  (table) => [
    index('sessions_user_id_idx').on(table.userId),
    // For their pruning: only sessions that are over pay for it.
    index('sessions_final_idx').on(table.updatedAt).where(isFinal),
  ],
)

/** The ledger: the story of every webhook message, without personal data once it is applied. */
export const webhookEvents = pgTable(
  'webhook_events',
  {
    /** The Svix message id: the same for every delivery of the message. */
    id: text('id').primaryKey(),
    type: text('type').notNull(),
    objectId: text('object_id'),
    /** `applied`, `stale`, `ignored` or `failed`. */
    outcome: text('outcome').notNull(),
    error: text('error'),
    attempts: integer('attempts').notNull().default(1),
    /** When it happened at Clerk; `processed_at` minus this is how long the event took to reach the tables. */
    eventAt: time('event_at'),
    receivedAt: time('received_at').notNull().defaultNow(),
    lastReceivedAt: time('last_received_at').notNull().defaultNow(),
    processedAt: time('processed_at'),
    /** The body as it came: only while it failed, or with WEBHOOK_STORE_PAYLOADS. */
    payload: text('payload'),
  },
  (table) => [
    index('webhook_events_received_at_idx').on(table.receivedAt),
    index('webhook_events_failed_idx').on(table.receivedAt).where(sql`outcome = 'failed'`),
  ],
)

/** What work that outlasts a process must remember, one row a job: the place of a backfill, the findings of a reconcile. */
export const syncState = pgTable('sync_state', {
  job: text('job').primaryKey(),
  state: jsonb('state').$type<JsonObject>().notNull(),
  updatedAt: time('updated_at').notNull().defaultNow(),
})
