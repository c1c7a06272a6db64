/** What the client knows about each session. Nothing that one account caused applies to another. */
import type { Identity } from './tokens.ts'
import type { SyncResult } from './types.ts'

/**
 * The number of sessions that are remembered. Beyond it all are forgotten at once: a page has a few, but a server that shares one
 * client can have any number. Calls in progress keep their own.
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
