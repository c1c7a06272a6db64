/** The page's calls to the API. URLs are relative, so that a proxy can serve the page below another path. */

const KEY = 'clerk-session-sync-dashboard-token'
const PATIENCE_MS = 10_000

// Kept for this tab only, and lost when it is closed.
export const token = {
  get: () => sessionStorage.getItem(KEY),
  set: (value) => sessionStorage.setItem(KEY, value),
  forget: () => sessionStorage.removeItem(KEY),
  /** Takes the token from `/dashboard#token=…`, the link that development prints, and removes it from the address bar and history. */
  takeFromLink() {
    const [, sent] = /^#token=(.+)$/.exec(location.hash) ?? []
    if (!sent) return
    token.set(decodeURIComponent(sent))
    history.replaceState(null, '', location.pathname)
  },
}

/** An error reply, or no reply at all (status 0). */
export class ApiError extends Error {
  constructor(status, message) {
    super(message)
    this.status = status
  }
}

async function request(path, body) {
  const sent = token.get()
  const headers = {
    ...(sent && { authorization: `Bearer ${sent}` }),
    ...(body && { 'content-type': 'application/json' }),
  }
  let response
  try {
    response = await fetch(path, {
      headers,
      method: body ? 'POST' : 'GET',
      body: body && JSON.stringify(body),
      signal: AbortSignal.timeout(PATIENCE_MS),
    })
  } catch {
    throw new ApiError(0, 'The service cannot be reached')
  }
  const reply = await response.json().catch(() => ({}))
  return { response, reply }
}

async function call(path, body) {
  const { response, reply } = await request(`dashboard/api/${path}`, body)
  if (!response.ok) throw new ApiError(response.status, reply.message ?? response.statusText)
  return reply
}

export const overview = (range) => call(`overview?range=${range}`)
export const dismiss = (id) => call(`failed-events/${encodeURIComponent(id)}/dismiss`, {})
export const replay = (id) => call(`failed-events/${encodeURIComponent(id)}/replay`, {})
export const search = (query) => call('users/search', { query })

/** The health of this replica, also if the reply is a 503. */
export async function health() {
  const { reply } = await request('api/auth/health')
  if (!reply.checks) throw new ApiError(0, 'The service cannot be reached')
  return reply
}
