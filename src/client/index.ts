/** The browser's side of the service: a client that cannot loop. No dependencies, no DOM. */
export { createSessionSync } from './session-sync.ts'
export { SessionSyncError } from './session-sync-error.ts'
export type {
  Fetch,
  FetchInit,
  FetchInput,
  FetchResponse,
  Seams,
  SessionSync,
  SessionSyncOptions,
  Signal,
  SignedOutReason,
  SyncedUser,
  SyncResult,
} from './types.ts'
