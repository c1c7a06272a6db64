/** What an answer means for the token and its session. */
import { SessionSyncError } from './session-sync-error.ts'
import type { FetchResponse, SignedOutReason } from './types.ts'

interface ErrorBody {
  statusCode?: number
  code?: string
  message?: string
  requestId?: string
}

/**
 * The service's code of a refusal. An application's own 401 and 403 have no such code: they say nothing about the token, and
 * are passed on to the caller with the body unread.
 */
export async function refusalOf(response: FetchResponse): Promise<string | undefined> {
  const header = response.headers.get('x-auth-request-error')
  if (!/^40[13]$/.test(`${response.status}`) || header) return header ?? undefined
  // The body of anything else may be long.
  if (!/json/.test(`${response.headers.get('content-type')}`)) return undefined
  const { statusCode, code, requestId } = await bodyOf(response.clone())
  return statusCode === response.status && requestId ? code : undefined
}

export async function errorOf(response: FetchResponse): Promise<SessionSyncError> {
  const { code = 'UNKNOWN', message = `HTTP ${response.status}`, requestId } = await bodyOf(response)
  return new SessionSyncError(response.status, code, message, requestId)
}

const bodyOf = (response: FetchResponse): Promise<ErrorBody> => response.json().then(Object, () => ({}))

/** A fresh token may be accepted. */
export const isStale = (code: string | undefined) => /^(TOKEN_EXPIRED|INVALID_TOKEN)$/.test(`${code}`)

/** The service did not accept the token, or does not know its user. */
export const isRefusedToken = (code: string | undefined) =>
  isStale(code) || /^(MISSING_TOKEN|USER_NOT_SYNCED)$/.test(`${code}`)

export const isOver = (code: string | undefined): code is SignedOutReason =>
  /^(SESSION_REVOKED|USER_(DELETED|BANNED|DEPROVISIONED))$/.test(`${code}`)
