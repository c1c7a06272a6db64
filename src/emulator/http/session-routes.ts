import type { FastifyPluginAsync } from 'fastify'
import { notFound, parameterInvalid, parameterMissing } from '../clerk-error.ts'
import { first, integer, type Query } from '../query.ts'
import type { Session } from '../schemas.ts'
import { isLive, type SessionStore } from '../session-store.ts'
import type { EmulatorContext } from './context.ts'

const TOKEN_TTL_SECONDS = { min: 30, max: 315_360_000 }

/** `/v1/sessions`. */
export const sessionRoutes: FastifyPluginAsync<EmulatorContext> = async (app, { instance }) => {
  interface ById {
    Params: { id: string }
  }

  app.get<{ Querystring: Query }>('/sessions', async ({ query }) => {
    const limit = integer(query, 'limit', { min: 1, max: 500, fallback: 10 })
    const offset = integer(query, 'offset', { min: 0, max: Number.MAX_SAFE_INTEGER, fallback: 0 })
    const found = findSessions(instance.sessions, query)
    const data = found.slice(offset, offset + limit)
    return first(query.paginated) === 'true' ? { data, total_count: found.length } : data
  })
  app.get<ById>('/sessions/:id', async ({ params }) => instance.getSession(params.id))
  app.post<{ Body?: { user_id?: unknown } }>('/sessions', async ({ body }) => {
    if (typeof body?.user_id !== 'string') throw parameterMissing('user_id')
    return instance.signIn(body.user_id)
  })
  app.post<ById>('/sessions/:id/revoke', async ({ params }) => instance.revokeSession(params.id))
  app.post<ById & { Body?: { expires_in_seconds?: unknown } }>('/sessions/:id/tokens', async ({ params, body }) => {
    // Clerk issues tokens only for active sessions; in-process callers can get tokens of any session.
    if (!isLive(instance.getSession(params.id))) throw notFound('session', params.id)
    const expiresInSeconds = readTokenTtl(body?.expires_in_seconds)
    return { object: 'token', jwt: instance.sessionToken(params.id, { expiresInSeconds }) }
  })
}

/** Newest first. */
function findSessions(store: SessionStore, query: Query): Session[] {
  const userId = first(query.user_id)
  const clientId = first(query.client_id)
  const status = first(query.status)
  const sessions = userId === undefined ? [...store.values()] : store.ofUser(userId)
  return sessions
    .filter((session) => clientId === undefined || session.client_id === clientId)
    .filter((session) => status === undefined || session.status === status)
    .reverse()
}

function readTokenTtl(value: unknown): number | undefined {
  if (value == null) return undefined
  const { min, max } = TOKEN_TTL_SECONDS
  if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max) return value
  throw parameterInvalid('expires_in_seconds', value)
}
