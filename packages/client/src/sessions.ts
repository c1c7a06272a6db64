/** What the client knows, kept apart for each session, so that nothing of one account holds for another. */
import type { Identity } from './tokens.ts'
import type { SyncResult } from './types.ts'

/**
 * Sessions that are remembered, and then forgotten all at once: a page has a handful, a server that shares one client any
 * number. Calls under way keep their own.
 */
export const MAX_SESSIONS = 100

export interface SessionState extends Identity {
  /** The newest. */
  token?: string
  /** 401s in a row that neither a fresh token nor a sync could fix. */
  refusals: number
  /** The loop breaker is open until then, Unix ms. */
  closedUntil: number
  syncing?: Promise<SyncResult> | undefined
  /** The last fresh token, for all who need one until `freshUntil`, Unix ms. */
  fresh?: Promise<string | null | undefined>
  freshUntil: number
}
