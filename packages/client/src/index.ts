/** The browser's side of the service: a client that cannot loop. No dependencies, no DOM. */
export { createSessionSync } from './session-sync.ts'
export { SessionSyncError } from './session-sync-error.ts'
export type {
  ClientCode,
  ErrorCode,
  Fetch,
  FetchInit,
  FetchInput,
  FetchResponse,
  Seams,
  ServiceCode,
  SessionSync,
  SessionSyncOptions,
  Signal,
  SignedOut,
  SignedOutReason,
  SyncedUser,
  SyncResult,
} from './types.ts'
