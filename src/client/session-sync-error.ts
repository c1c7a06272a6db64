/** An answer that was no success, or a reason to send no request. Its `code` says what to do. */
export class SessionSyncError extends Error {
  override name = 'SessionSyncError'
  /** The HTTP status, or that of the code where no request was sent; 0 for the client's own codes. */
  readonly status: number
  /** The service's code; `SIGNED_OUT` and `LOOP_BROKEN` are the client's own. */
  readonly code: string
  /** Finds the error in the service's log. */
  readonly requestId: string | undefined

  constructor(status: number, code: string, message: string, requestId?: string) {
    super(message)
    this.status = status
    this.code = code
    this.requestId = requestId
  }
}
