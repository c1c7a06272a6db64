/** Who may call the dashboard's API. */
import { createHash, timingSafeEqual } from 'node:crypto'
import type { FastifyRequest } from 'fastify'
import { DashboardTokenInvalid, withoutCredentials } from '../../errors.ts'

const digest = (text: string) => createHash('sha256').update(text).digest()

/**
 * Makes the hook that refuses all who do not send the token. Whether a caller is on this machine counts for nothing: a proxy
 * here has its address and its `Host`, whoever comes through it.
 */
export function createGuard(token: string): (request: FastifyRequest) => Promise<void> {
  const expected = digest(token)
  return async ({ headers }) => {
    const [, sent] = /^Bearer (.+)$/i.exec(headers.authorization ?? '') ?? []
    if (sent === undefined) throw withoutCredentials(new DashboardTokenInvalid())
    // Of the digests, so that neither the time nor the length tells anything.
    if (!timingSafeEqual(digest(sent), expected)) throw new DashboardTokenInvalid()
  }
}

/** The address that opens the page with its token. Browsers send no fragment to anybody, and the page removes it at once. */
export const dashboardLink = (serviceUrl: string, token: string) => `${serviceUrl}/dashboard#token=${token}`
