/** The client as a Vue composable, for what `useAuth()` of `@clerk/vue` returns. */
import { type MaybeRef, onScopeDispose, type ShallowRef, shallowRef, unref, watch } from 'vue'
import { type ClerkSession, clientOf, keyOf, onOnline, settle, type UseSessionSync } from './session-state.ts'
import type { SessionSync, SessionSyncOptions } from './types.ts'

export type { SessionState, UseSessionSync } from './session-state.ts'

export interface UseSessionSyncOptions extends Omit<SessionSyncOptions, 'getToken'> {
  getToken: MaybeRef<SessionSyncOptions['getToken']>
  /** Of `useAuth()`; missing counts as true. */
  isLoaded?: MaybeRef<boolean | undefined>
  /** Of `useAuth()`. */
  isSignedIn?: MaybeRef<boolean | undefined>
  userId?: MaybeRef<ClerkSession['userId']>
  sessionId?: MaybeRef<ClerkSession['sessionId']>
  orgId?: MaybeRef<ClerkSession['orgId']>
  sessionClaims?: MaybeRef<ClerkSession['sessionClaims']>
}

/**
 * Syncs once after sign-in, and once for each session: `useSessionSync({ baseUrl, ...useAuth() })`. The functions of its value
 * act for the session and organization that were active when it was read, and for no other.
 */
export function useSessionSync(options: UseSessionSyncOptions): Readonly<ShallowRef<UseSessionSync>> {
  const { baseUrl, onSignedOut, timeoutMs, fetch } = options
  const read = () => ({
    isLoaded: unref(options.isLoaded) ?? true,
    isSignedIn: unref(options.isSignedIn),
    userId: unref(options.userId),
    sessionId: unref(options.sessionId),
    orgId: unref(options.orgId),
    sessionClaims: unref(options.sessionClaims),
  })
  const value = shallowRef() as ShallowRef<UseSessionSync>
  let client: SessionSync
  let synced: string | undefined
  let latest = 0

  async function sync(): Promise<void> {
    const now = read()
    latest += 1
    const mine = latest
    const retry = () => {
      synced = undefined
      void sync()
    }
    const own = clientOf(
      now,
      { baseUrl, timeoutMs, fetch, onSignedOut, getToken: (tokenOptions) => unref(options.getToken)(tokenOptions) },
      (state) => {
        if (client === own) value.value = { ...own, retry, ...state }
      },
    )
    client = own
    const shared = { ...own, retry }
    const key = keyOf(now, baseUrl)
    if (!now.isLoaded || !now.isSignedIn) {
      synced = undefined
      value.value = { ...shared, status: now.isLoaded ? 'signed-out' : 'loading' }
    } else if (synced === key && value.value.status === 'ready') {
      // Another organization of the same session: the row is the same.
      value.value = { ...shared, status: 'ready', user: value.value.user }
    } else {
      synced = key
      value.value = { ...shared, status: 'syncing' }
      const state = await settle(own)
      // A result of another session or attempt is none.
      if (mine === latest) value.value = { ...shared, ...state }
    }
  }

  // Claims are new objects with each token, and mostly the same.
  const known = () => {
    const { isLoaded, isSignedIn, orgId, ...session } = read()
    return JSON.stringify([isLoaded, isSignedIn, orgId, keyOf(session, baseUrl)])
  }
  watch(known, sync, { immediate: true })
  onScopeDispose(
    onOnline(() => {
      if (value.value.status === 'failed') value.value.retry()
    }),
  )
  return value
}
