/** The public exports: the whole service as one Fastify plugin, and each of its plugins alone. */
export { type AppOptions, default, default as clerkSessionSync, type OperationalRoute } from './app.ts'
export { default as clerkRoutes, type RoutesOptions } from './clerk-routes.ts'
export type { ChangeClient, OnChange } from './db/changes/on-change.ts'
export { migrate } from './db/migrate.ts'
export type { ChangeResult, Repository } from './db/repository.ts'
export type { ActiveOrganization, Authorization } from './domain/authorization.ts'
export type { Change, Message, Outcome } from './domain/change.ts'
export type { Conditions } from './domain/conditions.ts'
export { FeedChange, type FeedType } from './domain/feed.ts'
export type { Membership } from './domain/membership.ts'
export type { SessionToken } from './domain/session-token.ts'
export { getClerkAuth, getClerkOrganization, getClerkUser } from './plugins/admitted.ts'
export { type AuthOptions, default as clerkAuth } from './plugins/auth.ts'
export {
  type ChangesOptions,
  type ClerkOnHandler,
  type ClerkOnOptions,
  default as clerkChanges,
} from './plugins/changes/index.ts'
export { type DatabaseOptions, default as clerkDatabase } from './plugins/database.ts'
export { default as clerkErrorReplies, type ErrorRepliesOptions } from './plugins/error-replies.ts'
export { default as clerkMetrics, type MetricsOptions } from './plugins/metrics/index.ts'
export { default as clerkOpenapi, type OpenapiOptions } from './plugins/openapi.ts'
export { default as clerkPruning, type PruningOptions } from './plugins/pruning.ts'
export { default as clerkUserSync, type SyncResult, type UserSyncOptions } from './plugins/user-sync.ts'
export { default as clerkWebhooks, type WebhooksOptions } from './plugins/webhooks/index.ts'
export { User } from './resources/user/payload.ts'
