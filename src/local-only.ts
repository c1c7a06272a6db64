/**
 * Restricts development tools to this machine and to their own pages. Listening on loopback is not enough: any page in a local
 * browser can call it, a host name can be pointed at it (DNS rebinding), and a proxy or tunnel can forward to it.
 */
import type { IncomingHttpHeaders } from 'node:http'

const LOOPBACK_HOST = /^(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d+)?$/i
const FORWARDING =
  /^(forwarded|via|x-real-ip|x-client-ip|true-client-ip|cf-connecting-ip|x-forwarded(-.+)?|x-original-.+)$/

/**
 * Why a request does not come from this machine, or undefined if it does.
 * @param origins further origins whose pages may call
 */
export function findForeignTrait(headers: IncomingHttpHeaders, origins: readonly string[]): string | undefined {
  const { host = '', origin } = headers
  if (!LOOPBACK_HOST.test(host)) return 'its Host header does not name this machine'
  const forwarding = Object.keys(headers).find((name) => FORWARDING.test(name))
  if (forwarding) return `it came through a proxy (${forwarding})`
  if (origin === undefined || origin === `http://${host.toLowerCase()}` || origins.includes(origin)) return undefined
  return 'it comes from a page of another origin'
}
