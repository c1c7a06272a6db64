/** The words of the client. Built on whatever `fetch` the platform declares, so that no DOM types are needed. */
/** The platform's own fetch: of a browser, Node.js, Deno, or React Native. */
export type Fetch = typeof globalThis extends { fetch: infer F extends (...args: never[]) => unknown } ? F : never
export type FetchInput = Parameters<Fetch>[0]
export type FetchInit = NonNullable<Parameters<Fetch>[1]>
export type FetchResponse = Awaited<ReturnType<Fetch>>
export type Signal = NonNullable<FetchInit['signal']>

/** Why a session is over for good. */
export type SignedOutReason = 'SESSION_REVOKED' | 'USER_DELETED' | 'USER_BANNED'

/** A row of the service's `users` table. Times are ISO 8601, UTC. */
export interface SyncedUser {
  id: string
  email: string | null
  emailVerified: boolean | null
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

export interface SessionSyncOptions {
  /** The service, such as `https://api.example.com`. Its origin is the only one that gets the token. */
  baseUrl: string
  /** Clerk's: `(options) => clerk.session?.getToken(options)`. Nothing means that nobody is signed in. */
  getToken: (options?: { skipCache?: boolean }) => Promise<string | null | undefined> | string | null | undefined
  /** Called once for each session that is over. The place for `clerk.signOut()` or a page that says so. */
  onSignedOut?: (reason: SignedOutReason) => unknown
  /** Instead of the platform's. */
  fetch?: Fetch
}

export interface SessionSync {
  /** Brings the user's row up to date. Calls at the same time share one request. Rejects with a SessionSyncError. */
  syncUser(): Promise<SyncResult>
  /**
   * `fetch` with the token, and with the retries that are safe. Resolves with the last answer, whatever its status.
   * A path is below `baseUrl`. Other origins are called as they are, without the token.
   * @throws SessionSyncError without a request: nobody is signed in, the session is over, or the loop breaker is open
   */
  fetch(input: FetchInput, init?: FetchInit): Promise<FetchResponse>
  /** The user's row. Rejects with a SessionSyncError. */
  profile(): Promise<SyncedUser>
}

/** What a test puts in the place of time and chance. */
export interface Seams {
  random: () => number
  /** Unix ms. */
  now: () => number
  /** Resolves after so many ms. */
  sleep: (ms: number) => Promise<unknown>
}
