/**
 * The tables. Other columns, indexes and foreign keys to `users.id` may be added by the application: the service names the
 * columns that it writes, never deletes a row of `users`, and never changes an id.
 */

import type { JsonObject } from '../domain/clean.ts'
import { organizationInvitationsIn } from '../resources/invitation/table.ts'
import { organizationMembershipsIn } from '../resources/membership/table.ts'
import { organizationsIn } from '../resources/organization/table.ts'
import { organizationRolesIn } from '../resources/role/table.ts'
import { sessionsIn } from '../resources/session/table.ts'
import { usersIn } from '../resources/user/table.ts'
import { changesIn } from './changes/table.ts'
import { index, integer, jsonb, PgSchema, sql, text } from './drizzle.ts'
import { DEFAULT_SCHEMA, plain } from './schema-name.ts'
import { type MakeTable, makeTable, time } from './table.ts'

/** The ledger: the history of every webhook message, without personal data once it is applied. */
export const webhookEventsIn = (table: MakeTable) =>
  table(
    'webhook_events',
    {
      /** The Svix message id: the same for every delivery of the message. */
      id: text('id').primaryKey(),
      type: text('type').notNull(),
      objectId: text('object_id'),
      /** The Clerk instance that the envelope names. */
      instanceId: text('instance_id'),
      /** `applied`, `stale`, `ignored` or `failed`; a failed one may become `superseded` or `discarded`. */
      outcome: text('outcome').notNull(),
      /** Why it failed, or why an event of a known type was ignored. */
      error: text('error'),
      attempts: integer('attempts').notNull().default(1),
      /** When it happened at Clerk; `processed_at` minus this is how long the event took to reach the tables. */
      eventAt: time('event_at'),
      receivedAt: time('received_at').notNull().defaultNow(),
      lastReceivedAt: time('last_received_at').notNull().defaultNow(),
      processedAt: time('processed_at'),
      /** The body, without what PostgreSQL cannot store. Kept while it is failed, and of applied messages with WEBHOOK_STORE_PAYLOADS. */
      payload: text('payload'),
      /** The user that a failed event or a kept payload is about, whose deletion erases the payload. */
      userId: text('user_id'),
    },
    (table) => [
      index('webhook_events_received_at_idx').on(table.receivedAt),
      index('webhook_events_failed_idx').on(table.receivedAt).where(sql`outcome = 'failed'`),
      index('webhook_events_payload_idx').on(table.userId).where(sql`payload is not null`),
      index('webhook_events_foreign_idx').on(table.receivedAt).where(sql`outcome = 'ignored' and error is not null`),
    ],
  )

/** State of jobs that must survive the process, one row per job: the progress of a backfill, the report of a reconcile. */
export const syncStateIn = (table: MakeTable) =>
  table('sync_state', {
    job: text('job').primaryKey(),
    state: jsonb('state').$type<JsonObject>().notNull(),
    updatedAt: time('updated_at').notNull().defaultNow(),
  })

/** The ids that a reconcile has seen at Clerk, in a table so that no process has to hold a million of them in memory. */
export const reconcileSeen = makeTable('reconcile_seen', { id: text('id').primaryKey() })

export const webhookEvents = webhookEventsIn(makeTable)
export const syncState = syncStateIn(makeTable)

/**
 * The tables of a schema, for an application's own Drizzle queries.
 * @throws TypeError if the schema's name is not plain
 */
export function tablesIn(schema: string = DEFAULT_SCHEMA) {
  const table = new PgSchema(plain(schema)).table as unknown as MakeTable
  return {
    users: usersIn(table),
    sessions: sessionsIn(table),
    organizations: organizationsIn(table),
    organizationMemberships: organizationMembershipsIn(table),
    organizationRoles: organizationRolesIn(table),
    organizationInvitations: organizationInvitationsIn(table),
    webhookEvents: webhookEventsIn(table),
    syncState: syncStateIn(table),
    changes: changesIn(table),
  }
}

/**
 * The views of a schema, which leave out deleted users and organizations and ended memberships.
 * @throws TypeError if the schema's name is not plain
 */
export function viewsIn(schema: string = DEFAULT_SCHEMA) {
  const { users, organizations } = tablesIn(schema)
  const inSchema = new PgSchema(plain(schema))
  return {
    livingUsers: inSchema.view('living_users').as((query) => query.select().from(users)),
    livingOrganizations: inSchema.view('living_organizations').as((query) => query.select().from(organizations)),
    livingMemberships: inSchema
      .view('living_memberships', {
        id: text('id').notNull(),
        organizationId: text('organization_id').notNull(),
        userId: text('user_id').notNull(),
        role: text('role').notNull(),
        /** The current permissions: those of the role's row if it is newer. */
        permissions: text('permissions').array().notNull(),
        publicMetadata: jsonb('public_metadata').$type<JsonObject>().notNull(),
        clerkCreatedAt: time('clerk_created_at'),
        clerkUpdatedAt: time('clerk_updated_at').notNull(),
        createdAt: time('created_at').notNull(),
        updatedAt: time('updated_at').notNull(),
      })
      .existing(),
  }
}
