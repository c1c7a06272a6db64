/**
 * Keeps the tools of development to this machine and to their own pages. A listener on loopback alone does not: every page
 * that a browser here shows may call it, a name may be pointed at it (DNS rebinding), and a proxy or tunnel may lead to it.
 */
import type { IncomingHttpHeaders } from 'node:http'

const LOOPBACK_HOST = /^(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d+)?$/i
const FORWARDING =
  /^(forwarded|via|x-real-ip|x-client-ip|true-client-ip|cf-connecting-ip|x-forwarded(-.+)?|x-original-.+)$/

/**
 * Why a request is not one of this machine, or undefined when it is.
 * @param origins besides its own, those whose pages may call
 */
export function findForeignTrait(headers: IncomingHttpHeaders, origins: readonly string[]): string | undefined {
  const { host = '', origin } = headers
  if (!LOOPBACK_HOST.test(host)) return 'its Host is not of this machine'
  const forwarding = Object.keys(headers).find((name) => FORWARDING.test(name))
  if (forwarding) return `it came through a proxy (${forwarding})`
  if (origin === undefined || origin === `http://${host.toLowerCase()}` || origins.includes(origin)) return undefined
  return 'it is of a page of another origin'
}
