/** Who may call the dashboard's API. */
import { BlockList } from 'node:net'
import type { FastifyRequest } from 'fastify'
import { DashboardTokenInvalid, withoutCredentials } from '../../errors.ts'
import { createTokenCheck } from '../token-check.ts'

const loopback = new BlockList()
loopback.addSubnet('127.0.0.0', 8, 'ipv4')
loopback.addAddress('::1', 'ipv6')
const LOCAL_NAMES = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/
const SAME_SITE = [undefined, 'none', 'same-origin']

/**
 * Makes the hook that refuses whoever may not. With a token: all who do not send it. Without one: all but the pages of this very
 * machine, neither another computer nor another site's page in a browser here (by its own name, or by one that it points here).
 */
export function createGuard(token: string | undefined): (request: FastifyRequest) => Promise<void> {
  if (token === undefined) {
    return async (request) => {
      if (!isLocal(request)) throw withoutCredentials(new DashboardTokenInvalid())
    }
  }
  const check = createTokenCheck(token)
  return async ({ headers }) => {
    const result = check(headers.authorization)
    if (result === 'missing') throw withoutCredentials(new DashboardTokenInvalid())
    if (result === 'wrong') throw new DashboardTokenInvalid()
  }
}

// The address of the connection, since any client can write a header that names another.
function isLocal({ socket, host, headers }: FastifyRequest): boolean {
  const { remoteAddress = '', remoteFamily } = socket
  return (
    loopback.check(remoteAddress, remoteFamily === 'IPv6' ? 'ipv6' : 'ipv4') &&
    LOCAL_NAMES.test(host.replace(/:\d+$/, '')) &&
    SAME_SITE.includes(headers['sec-fetch-site'] as string | undefined)
  )
}
