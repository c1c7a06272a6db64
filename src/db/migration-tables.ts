/** The tables without a schema, which drizzle-kit compares with the migrations. */
export { organizationInvitations } from '../resources/invitation/table.ts'
export { organizationMemberships } from '../resources/membership/table.ts'
export { organizations } from '../resources/organization/table.ts'
export { organizationRoles } from '../resources/role/table.ts'
export { sessions } from '../resources/session/table.ts'
export { users } from '../resources/user/table.ts'
export { changeConsumers, changeDeliveries, changes } from './changes/table.ts'
export { reconcileSeen, syncState, webhookEvents } from './schema.ts'
