/**
 * The tables and views for an application's own queries by Drizzle: `clerk-session-sync/schema`. In another schema than `clerk`:
 * `const { users } = tablesIn('auth')`.
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
