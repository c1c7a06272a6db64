/** The types of the client. They derive from the platform's `fetch`, so that no DOM types are needed. */

/** The platform's own fetch: of a browser, Node.js, Deno, or React Native. */
export type Fetch = typeof globalThis extends { fetch: infer F extends (...args: never[]) => unknown } ? F : never
export type FetchInput = Parameters<Fetch>[0]
export type FetchInit = NonNullable<Parameters<Fetch>[1]>
export type FetchResponse = Awaited<ReturnType<Fetch>>
export type Signal = NonNullable<FetchInit['signal']>

/** Why a session is over for good. */
export type SignedOutReason = 'SESSION_REVOKED' | 'USER_DELETED' | 'USER_BANNED' | 'USER_DEPROVISIONED'

/** The service's codes that a browser can meet; the guide says what to do about each. */
export type ServiceCode =
  | SignedOutReason
  | 'MISSING_TOKEN'
  | 'INVALID_TOKEN'
  | 'TOKEN_EXPIRED'
  | 'USER_NOT_SYNCED'
  | 'SESSION_PENDING'
  | 'CROSS_SITE_REQUEST'
  | 'MEMBERSHIP_ENDED'
  | 'FORBIDDEN'
  | 'REVERIFICATION_REQUIRED'
  | 'JWKS_UNAVAILABLE'
  | 'DATABASE_UNAVAILABLE'
  | 'SHUTTING_DOWN'
  | 'RATE_LIMITED'

/** The client's own codes, with status 0: no request was sent, or none was answered. */
export type ClientCode = 'SIGNED_OUT' | 'OFFLINE' | 'SESSION_CHANGED' | 'LOOP_BROKEN' | 'TIMEOUT' | 'ABORTED'

/** Known codes for completion in an editor; other servers have codes of their own, and some answers have none. */
export type ErrorCode = ServiceCode | ClientCode | 'UNKNOWN' | (string & {})

/** A row of the service's `users` table. Times are ISO 8601, UTC. */
export interface SyncedUser {
  id: string
  externalId: string | null
  email: string | null
  emailVerified: boolean | null
  phoneNumber: string | null
  firstName: string | null
  lastName: string | null
  username: string | null
  imageUrl: string | null
  publicMetadata: Record<string, unknown>
  lastSignInAt: string | null
  createdAt: string
  updatedAt: string
}

export interface SyncResult {
  user: SyncedUser
  /** Whether this call made the row. */
  created: boolean
  source: 'clerk_api' | 'session_claims' | 'database'
}

/** A session that is over: whose, and why. */
export interface SignedOut {
  reason: SignedOutReason
  /** Clerk's id of the session, for `clerk.signOut({ sessionId })`; undefined for tokens without one. */
  sessionId: string | undefined
  userId: string | undefined
}

export interface SessionSyncOptions {
  /** The service, such as `https://api.example.com` or `/auth-service`. Its origin is the only one that gets the token. */
  baseUrl: string
  /**
   * Clerk's: `(options) => clerk.session?.getToken(options)`. It is asked while `fetch` is being called, so that a call belongs
   * to the session that was active then. Nothing means that Clerk is loading, is offline, or that nobody is signed in.
   */
  getToken: (options?: { skipCache?: boolean }) => Promise<string | null | undefined> | string | null | undefined
  /** Called once for each session that is over. The place for `clerk.signOut({ sessionId })` or a page that says so. */
  onSignedOut?: (signedOut: SignedOut) => unknown
  /** Ms that Clerk has for a token, and the server for the head of an answer and the body of an error. Default 10,000. */
  timeoutMs?: number
  /** Instead of the platform's. */
  fetch?: Fetch
}

export interface SessionSync {
  /**
   * Brings the user's row up to date. Calls of one session at the same time share one request, which the signal of one
   * of them does not end. Rejects with a SessionSyncError.
   */
  syncUser(options?: { signal?: Signal | null }): Promise<SyncResult>
  /**
   * `fetch` with the token, and with the retries that are safe. Resolves with the last answer, whatever its status.
   * A path is below `baseUrl`. Other origins are called as they are, without the token.
   * @throws SessionSyncError with one of the client's own codes, or with that of a session that is over
   */
  fetch(input: FetchInput, init?: FetchInit): Promise<FetchResponse>
  /** The user's row. Rejects with a SessionSyncError. */
  profile(options?: { signal?: Signal | null }): Promise<SyncedUser>
}

/** The platform's clock, random numbers and network, which tests replace. */
export interface Seams {
  Date: Pick<DateConstructor, 'now' | 'parse'>
  Math: { random(): number }
  setTimeout(work: () => void, ms: number): unknown
  clearTimeout(id: never): void
  /** Not every platform has one. */
  navigator?: { onLine?: boolean } | undefined
}
