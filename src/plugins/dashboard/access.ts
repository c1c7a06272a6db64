/** Who may call the dashboard's API. */
import type { FastifyRequest } from 'fastify'
import { DashboardTokenInvalid, withoutCredentials } from '../../errors.ts'
import { createTokenCheck } from '../token-check.ts'

/**
 * Makes the hook that refuses all who do not send the token. Whether a caller is on this machine counts for nothing: a proxy
 * here has its address and its `Host`, whoever comes through it.
 */
export function createGuard(token: string): (request: FastifyRequest) => Promise<void> {
  const check = createTokenCheck(token)
  return async ({ headers }) => {
    const result = check(headers.authorization)
    if (result === 'missing') throw withoutCredentials(new DashboardTokenInvalid())
    if (result === 'wrong') throw new DashboardTokenInvalid()
  }
}

/** The address that opens the page with its token. Browsers send no fragment to anybody, and the page removes it at once. */
export const dashboardLink = (serviceUrl: string, token: string) => `${serviceUrl}/dashboard#token=${token}`
