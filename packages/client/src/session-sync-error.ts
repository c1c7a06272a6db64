import type { ErrorCode } from './types.ts'

/** An answer that was no success, or a reason to send no request. Its `code` says what to do. */
export class SessionSyncError extends Error {
  override name = 'SessionSyncError'
  /** The HTTP status, or that of the code where no request was sent; 0 for the client's own codes. */
  declare readonly status: number
  declare readonly code: ErrorCode
  /** Finds the error in the service's log. */
  declare readonly requestId: string | undefined

  constructor(status: number, code: ErrorCode, message: string = code, requestId?: string) {
    super(message)
    Object.assign(this, { status, code, requestId })
  }
}
