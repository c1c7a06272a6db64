/**
 * The tables and views for an application's own Drizzle queries: `clerk-session-sync/schema`. If they are in another schema than
 * `clerk`: `const { users } = tablesIn('auth')`.
 */
import { tablesIn, viewsIn } from './db/schema.ts'

export { tablesIn, viewsIn } from './db/schema.ts'

export const {
  users,
  sessions,
  organizations,
  organizationMemberships,
  organizationRoles,
  organizationInvitations,
  webhookEvents,
  syncState,
} = tablesIn()
export const { livingUsers, livingOrganizations, livingMemberships } = viewsIn()
