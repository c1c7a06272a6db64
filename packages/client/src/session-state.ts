/** What the React hook and the Vue composable share: a client for one session, and the result of its sync. */
import { createSessionSync } from './session-sync.ts'
import { SessionSyncError } from './session-sync-error.ts'
import { identityOf } from './tokens.ts'
import type { SessionSync, SessionSyncOptions, SyncedUser } from './types.ts'

/** What Clerk knows about the session. Undefined values are not compared; null means none. */
export interface ClerkSession {
  userId?: string | null | undefined
  sessionId?: string | null | undefined
  orgId?: string | null | undefined
  /** `sts` is `pending` until the user has done a task, such as choosing an organization. */
  sessionClaims?: { sts?: string | undefined } | null | undefined
}

/**
 * `signed-out` comes from Clerk, and is the only status that leads to a sign-in page. `refused`: this account or session cannot be
 * used (see `error.code`). `failed`: offer `retry`.
 */
export type SessionState =
  | { status: 'loading' | 'signed-out' | 'syncing'; user?: undefined; error?: undefined }
  | { status: 'ready'; user: SyncedUser; error?: undefined }
  | { status: 'refused'; user?: undefined; error: SessionSyncError }
  | { status: 'failed'; user?: undefined; error: Error }

export type UseSessionSync = SessionSync & {
  /** Syncs once more. */
  retry(): void
} & SessionState

export type Settled = Extract<SessionState, { status: 'ready' | 'refused' | 'failed' }>

/** A client that acts for this session only: tokens of any other reject with `SESSION_CHANGED`. */
export function clientOf(
  session: ClerkSession,
  options: SessionSyncOptions,
  onOver: (state: Settled) => void,
): SessionSync {
  const { getToken, onSignedOut } = options
  return createSessionSync({
    ...options,
    getToken: async (tokenOptions) => {
      const token = await getToken(tokenOptions)
      if (token && !isOf(session, token)) throw new SessionSyncError(0, 'SESSION_CHANGED')
      return token
    },
    onSignedOut(signedOut) {
      const { reason } = signedOut
      onOver({ status: 'refused', error: new SessionSyncError(reason === 'SESSION_REVOKED' ? 401 : 403, reason) })
      return onSignedOut?.(signedOut)
    },
  })
}

function isOf({ userId, sessionId, orgId }: ClerkSession, token: string): boolean {
  const { sub, sid, org } = identityOf(token)
  const isSame = (wanted: string | null | undefined, found: string | undefined) =>
    wanted === undefined || (wanted ?? '') === (found ?? '')
  // A token may leave out its session, but never its user or its organization.
  return isSame(userId, sub) && isSame(orgId, org) && (isSame(sessionId, sid) || !sid)
}

/** What names the session whose row is synced once: not the organization, which is no part of the row. */
export const keyOf = ({ userId, sessionId, sessionClaims }: ClerkSession, baseUrl: string): string =>
  JSON.stringify([baseUrl, userId, sessionId, sessionClaims?.sts])

export async function settle(client: SessionSync): Promise<Settled> {
  try {
    const { user } = await client.syncUser()
    return { status: 'ready', user }
  } catch (error) {
    const { status, code } = error as SessionSyncError
    return status === 403 || code === 'SESSION_REVOKED'
      ? { status: 'refused', error: error as SessionSyncError }
      : { status: 'failed', error: error as Error }
  }
}

/** Calls back when the browser is online again. React Native has no such event. */
export function onOnline(retry: () => void): () => void {
  const target = globalThis as Partial<Pick<EventTarget, 'addEventListener' | 'removeEventListener'>>
  target.addEventListener?.('online', retry)
  return () => target.removeEventListener?.('online', retry)
}
