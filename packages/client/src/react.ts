/** The client as a React hook, for what `useAuth()` of Clerk's React packages returns. */
import { useEffect, useMemo, useRef, useState } from 'react'
import {
  type ClerkSession,
  clientOf,
  keyOf,
  onOnline,
  type Settled,
  settle,
  type UseSessionSync,
} from './session-state.ts'
import type { SessionSyncOptions } from './types.ts'

export type { SessionState, UseSessionSync } from './session-state.ts'

export interface UseSessionSyncOptions extends SessionSyncOptions, ClerkSession {
  /** Of `useAuth()`; missing counts as true. */
  isLoaded?: boolean
  /** Of `useAuth()`. */
  isSignedIn?: boolean | undefined
}

/**
 * Syncs once after sign-in, and once for each session: `useSessionSync({ baseUrl, ...useAuth() })`. Its functions act for the
 * session and organization of the render that they came from, and for no other. Safe in strict mode: effects that run twice
 * share one request.
 */
export function useSessionSync(options: UseSessionSyncOptions): UseSessionSync {
  const { baseUrl, isLoaded = true, isSignedIn, userId, sessionId, orgId, timeoutMs } = options
  // The functions may be new ones on every render; the client calls the latest.
  const latest = useRef(options)
  useEffect(() => {
    latest.current = options
  })
  const [attempt, setAttempt] = useState(0)
  const [result, setResult] = useState<{ key: string; state: Settled }>()
  const session = keyOf(options, baseUrl)
  const key = `${session} ${attempt}`

  const [over, setOver] = useState<{ session: string; state: Settled }>()
  const client = useMemo(
    () =>
      clientOf(
        { userId, sessionId, orgId },
        {
          baseUrl,
          timeoutMs,
          getToken: (tokenOptions) => latest.current.getToken(tokenOptions),
          onSignedOut: (signedOut) => latest.current.onSignedOut?.(signedOut),
          fetch: (input, init) => (latest.current.fetch ?? fetch)(input, init),
        },
        (state) => setOver({ session: JSON.stringify([baseUrl, userId, sessionId]), state }),
      ),
    [baseUrl, timeoutMs, userId, sessionId, orgId],
  )
  const isReady = result?.key === key && result.state.status === 'ready'

  useEffect(() => {
    if (!isLoaded || !isSignedIn) return setResult(undefined)
    if (isReady) return undefined
    let isCurrent = true
    settle(client).then((state) => isCurrent && setResult({ key, state }))
    return () => {
      isCurrent = false
    }
  }, [client, isLoaded, isSignedIn, isReady, key])

  const isFailed = result?.key === key && result.state.status === 'failed'
  useEffect(() => (isFailed ? onOnline(() => setAttempt((before) => before + 1)) : undefined), [isFailed])

  const shared = { ...client, retry: () => setAttempt((before) => before + 1) }
  if (!isLoaded) return { ...shared, status: 'loading' }
  if (!isSignedIn) return { ...shared, status: 'signed-out' }
  if (over?.session === JSON.stringify([baseUrl, userId, sessionId])) return { ...shared, ...over.state }
  // A result of another session or attempt is none.
  return { ...shared, ...(result?.key === key ? result.state : { status: 'syncing' }) }
}
