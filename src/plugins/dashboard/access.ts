/** Access control of the dashboard's API. */
import type { FastifyRequest } from 'fastify'
import { DashboardTokenInvalid, withoutCredentials } from '../../errors.ts'
import { createTokenCheck } from '../token-check.ts'

/**
 * Makes the hook that refuses requests without the token, local ones too: behind a proxy on this machine every request has a
 * local address.
 */
export function createGuard(token: string): (request: FastifyRequest) => Promise<void> {
  const check = createTokenCheck(token)
  return async ({ headers }) => {
    const result = check(headers.authorization)
    if (result === 'missing') throw withoutCredentials(new DashboardTokenInvalid())
    if (result === 'wrong') throw new DashboardTokenInvalid()
  }
}
