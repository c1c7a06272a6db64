/** Clerk refused a request, and would refuse it again. */
export class ClerkRefusal extends Error {
  override name = 'ClerkRefusal'
  readonly status: number

  constructor(status: number, request: string) {
    super(`Clerk's Backend API answered ${status} to ${request}${REMEDIES[status] ?? ''}`)
    this.status = status
  }
}
const REMEDIES: Record<number, string> = {
  401: ': CLERK_SECRET_KEY is not valid (Clerk Dashboard, API keys), or CLERK_API_URL is wrong',
  403: ': CLERK_SECRET_KEY may not do this',
}

/** Clerk gave no usable answer within the client's number of attempts. */
export class ClerkUnavailable extends Error {
  override name = 'ClerkUnavailable'
  /** Why the last attempt failed, without the number of attempts. */
  readonly reason: string
  /** The status of the last answer; undefined if there was none. */
  readonly status: number | undefined

  constructor(reason: string, { attempts = 1, status }: { attempts?: number; status?: number } = {}) {
    super(`Clerk's Backend API: ${reason}${attempts > 1 ? `, ${attempts} times` : ''}`)
    this.reason = reason
    this.status = status
  }
}
