/** Origins as browsers write them, and which of them may send cookies. */

/** Schemes of URLs that are never the origin of a page. */
const NO_PAGES = new Set(['file:', 'ws:', 'wss:', 'ftp:', 'data:', 'blob:', 'about:', 'javascript:'])

/**
 * An origin as a browser writes it in `Origin` and Clerk in `azp`: lower-case host, no default port, no slash at its end. Schemes
 * of apps (`capacitor://localhost`) stay as they are. Undefined for what no browser ever sends: a path, a wildcard, a user.
 */
export function normalizeOrigin(text: string): string | undefined {
  const [, scheme, authority] = /^([a-z][a-z0-9+.-]*:)\/\/([^/\\?#@*\s]+)\/*$/i.exec(text) ?? []
  if (scheme === undefined || authority === undefined) return undefined
  const protocol = scheme.toLowerCase()
  const url = NO_PAGES.has(protocol) ? null : URL.parse(`${protocol}//${authority}`)
  if (!url) return undefined
  return url.origin === 'null' ? `${protocol}//${authority.toLowerCase()}` : url.origin
}

/** Makes the test whether an origin is one of these; `*` is any. Names of another form than a browser's are normalized. */
export function createOriginCheck(origins: readonly string[]): (origin: string | undefined) => boolean {
  const known = new Set(origins.map((origin) => normalizeOrigin(origin) ?? origin))
  return (origin) => origin !== undefined && (known.has('*') || known.has(origin))
}

/** The method that a forward-auth request is about: that of the client, which most proxies name in a header. */
export const askedMethod = (method: string, headers: Record<string, string | string[] | undefined>) =>
  String(headers['x-forwarded-method'] ?? method)

/** What tells where a request comes from. */
export interface RequestSource {
  method: string
  /** The host that was asked for, with its port. */
  host: string
  origin: string | undefined
  /** The header `Sec-Fetch-Site`. */
  fetchSite: string | undefined
}

const SAFE_METHODS = new Set(['GET', 'HEAD', 'OPTIONS'])

/** Whether a page of another site sent a request that may change something; `trusted` are normalized origins. */
export function isCrossSite({ method, host, origin, fetchSite }: RequestSource, trusted: ReadonlySet<string>): boolean {
  if (SAFE_METHODS.has(method)) return false
  if (origin === undefined) return fetchSite === 'cross-site'
  return !trusted.has(origin) && !isOwn(origin, host)
}

// With either scheme: the one that the browser used ends at a proxy.
const isOwn = (origin: string, host: string) =>
  /^https?:\/\//.test(origin) && URL.parse(`${origin.slice(0, origin.indexOf(':'))}://${host}`)?.origin === origin
