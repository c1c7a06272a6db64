/** The client as a React hook, for what `useAuth()` of Clerk's React packages returns. */
import { useEffect, useMemo, useRef, useState } from 'react'
import { createSessionSync } from './session-sync.ts'
import type { SessionSyncError } from './session-sync-error.ts'
import type { SessionSync, SessionSyncOptions, SyncedUser } from './types.ts'

export interface UseSessionSyncOptions extends SessionSyncOptions {
  /** Of `useAuth()`; missing counts as true. */
  isLoaded?: boolean
  /** Of `useAuth()`. */
  isSignedIn?: boolean | undefined
  /** Of `useAuth()`: another session is synced anew. */
  sessionId?: string | null | undefined
}

export interface UseSessionSync extends SessionSync {
  /**
   * `signed-out` is Clerk's word, and the only one that leads to a sign-in page. `refused`: this account or session cannot
   * be used (see `error.code`). `failed`: offer `retry`.
   */
  status: 'loading' | 'signed-out' | 'syncing' | 'ready' | 'refused' | 'failed'
  /** The row, while `ready`. */
  user?: SyncedUser
  error?: SessionSyncError | Error
  /** Syncs once more. */
  retry(): void
}

type Result = Pick<UseSessionSync, 'status' | 'user' | 'error'> & { key?: string }

/**
 * Syncs once after sign-in, and once for each session: `useSessionSync({ baseUrl, ...useAuth() })`.
 * Safe in strict mode: effects that run twice share one request.
 */
export function useSessionSync(options: UseSessionSyncOptions): UseSessionSync {
  const { baseUrl, isLoaded = true, isSignedIn, sessionId } = options
  // The functions may be new ones on every render; the client calls the latest.
  const latest = useRef(options)
  useEffect(() => {
    latest.current = options
  })
  const client = useMemo(
    () => clientOf(latest, baseUrl, sessionId),
    // A client of one session never shares the sync of another.
    [baseUrl, sessionId],
  )
  const [attempt, setAttempt] = useState(0)
  const [result, setResult] = useState<Result>({ status: 'syncing' })
  const key = `${baseUrl} ${sessionId} ${attempt}`

  useEffect(() => {
    if (!isLoaded || !isSignedIn) return undefined
    let isCurrent = true
    const settle = (next: Result) => isCurrent && setResult({ ...next, key })
    client.syncUser().then(
      ({ user }) => settle({ status: 'ready', user }),
      (error) => settle({ status: isRefusal(error) ? 'refused' : 'failed', error }),
    )
    return () => {
      isCurrent = false
    }
  }, [client, isLoaded, isSignedIn, key])

  const shared = { ...client, retry: () => setAttempt(attempt + 1) }
  if (!isLoaded) return { ...shared, status: 'loading' }
  if (!isSignedIn) return { ...shared, status: 'signed-out' }
  // A result of another session or attempt is none.
  if (result.key !== key) return { ...shared, status: 'syncing' }
  const { key: _key, ...known } = result
  return { ...shared, ...known }
}

const isRefusal = ({ status, code }: SessionSyncError) => status === 403 || code === 'SESSION_REVOKED'

function clientOf(latest: { current: UseSessionSyncOptions }, baseUrl: string, _sessionId: unknown): SessionSync {
  return createSessionSync({
    baseUrl,
    getToken: (tokenOptions) => latest.current.getToken(tokenOptions),
    onSignedOut: (reason) => latest.current.onSignedOut?.(reason),
    fetch: latest.current.fetch,
  })
}
