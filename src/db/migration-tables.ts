/** The tables as drizzle-kit compares them with the migrations: without a schema. */
export { sessions } from '../resources/session/table.ts'
export { users } from '../resources/user/table.ts'
export { changeConsumers, changeDeliveries, changes } from './changes/table.ts'
export { reconcileSeen, syncState, webhookEvents } from './schema.ts'
