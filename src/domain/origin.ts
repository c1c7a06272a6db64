/** Normalizes origins, and decides whether a request is cross-site. */

/** URL schemes that are never the origin of a page. */
const NO_PAGES = new Set(['file:', 'ws:', 'wss:', 'ftp:', 'data:', 'blob:', 'about:', 'javascript:'])

/**
 * An origin in the form of a browser's `Origin` header and Clerk's `azp`: lower-case host, no default port, no trailing slash. App
 * schemes (`capacitor://localhost`) are kept. Undefined for what a browser never sends: a path, a wildcard, a user name.
 */
export function normalizeOrigin(text: string): string | undefined {
  const [, scheme, authority] = /^([a-z][a-z0-9+.-]*:)\/\/([^/\\?#@*\s]+)\/*$/i.exec(text) ?? []
  if (scheme === undefined || authority === undefined) return undefined
  const protocol = scheme.toLowerCase()
  const url = NO_PAGES.has(protocol) ? null : URL.parse(`${protocol}//${authority}`)
  if (!url) return undefined
  return url.origin === 'null' ? `${protocol}//${authority.toLowerCase()}` : url.origin
}

/** Makes a check whether an origin is one of these, which are normalized first; `*` matches any. */
export function createOriginCheck(origins: readonly string[]): (origin: string | undefined) => boolean {
  const known = new Set(origins.map((origin) => normalizeOrigin(origin) ?? origin))
  return (origin) => origin !== undefined && (known.has('*') || known.has(origin))
}

/** The client's method in a forward-auth request, which most proxies send in a header. */
export const askedMethod = (method: string, headers: Record<string, string | string[] | undefined>) =>
  String(headers['x-forwarded-method'] ?? method)

/** The parts of a request that show which site sent it. */
export interface RequestSource {
  method: string
  /** The requested host with its port. */
  host: string
  origin: string | undefined
  /** The `Sec-Fetch-Site` header. */
  fetchSite: string | undefined
}

const SAFE_METHODS = new Set(['GET', 'HEAD', 'OPTIONS'])

/** Whether a page of another site sent a request that may change something; `trusted` holds normalized origins. */
export function isCrossSite({ method, host, origin, fetchSite }: RequestSource, trusted: ReadonlySet<string>): boolean {
  if (SAFE_METHODS.has(method)) return false
  if (origin === undefined) return fetchSite === 'cross-site'
  return !trusted.has(origin) && !isOwn(origin, host)
}

// Either scheme matches, because a proxy may terminate TLS.
const isOwn = (origin: string, host: string) =>
  /^https?:\/\//.test(origin) && URL.parse(`${origin.slice(0, origin.indexOf(':'))}://${host}`)?.origin === origin
