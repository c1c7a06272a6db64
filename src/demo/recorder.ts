/** Watches requests, webhooks and the repository from outside: the service itself knows nothing of the demo. */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { FEED_TYPES } from '../domain/feed.ts'
import type { BatchedRepository } from '../plugins/database.ts'
import type { AuthState } from '../resources/auth-state.ts'
import { isFinal } from '../resources/session/change.ts'
import type { DemoEvent, Feed } from './feed.ts'

const WATCHED = /^\/(api\/auth\/(?!health|verify)|demo\/api\/old-backend|clerk$)/

/** Before the routes are registered: hooks reach only those that come after them. */
export function recordRequests(server: FastifyInstance, feed: Feed): void {
  const starts = new WeakMap<FastifyRequest, number>()
  const outcomes = new WeakMap<FastifyRequest, string>()
  server.addHook('onRequest', async (request) => {
    starts.set(request, Date.now())
  })
  server.addHook('onSend', async (request, _reply, payload) => {
    const { code, outcome, source } = readObject(payload)
    const text = code ?? outcome ?? source
    if (typeof text === 'string') outcomes.set(request, text)
    return payload
  })
  server.addHook('onResponse', async (request, reply) => {
    const path = request.routeOptions.url ?? ''
    if (!WATCHED.test(path)) return
    const isWebhook = path === '/clerk'
    const event = isWebhook ? readObject(request.body) : {}
    feed.add({
      lane: isWebhook ? 'webhook' : 'service',
      at: starts.get(request) as number,
      durationMs: reply.elapsedTime,
      label: isWebhook ? String(event.type) : `${request.method} ${path}`,
      status: reply.statusCode,
      outcome: outcomes.get(request),
      userId: isWebhook ? userOf(Object(event.data)) : request.clerkAuth?.userId,
    })
  })
}

/** What the change feed tells, in its own lane. */
export function recordChanges(server: FastifyInstance, feed: Feed): void {
  const types = FEED_TYPES.filter((type) => type.startsWith('user.'))
  server.clerkOn(types, { name: 'demo' }, ({ entity, entityId, op, changed, cause }) => {
    feed.add({
      lane: 'feed',
      at: Date.now(),
      durationMs: 0,
      label: `${entity}.${op}`,
      outcome: changed.join(', ') || (cause ?? undefined),
      userId: entityId,
    })
  })
}

/** After the plugins that made it: calls from now on are recorded. */
export function recordRepository(repository: BatchedRepository, feed: Feed): void {
  const { apply, findAuthState } = repository
  Object.assign(repository, {
    apply: recorded(
      apply,
      feed,
      ({ message, user, session }) => ({
        label: message ? `apply ${message.type}` : 'write the row',
        userId: user?.id ?? session?.userId,
      }),
      (result) => ('error' in result ? 'refused' : result.outcome),
    ),
    findAuthState: recorded(findAuthState, feed, ({ userId }) => ({ label: 'read the row', userId }), describeState),
  } satisfies Partial<BatchedRepository>)
}

function recorded<Input, Result>(
  work: (input: Input) => Promise<Result>,
  feed: Feed,
  describe: (input: Input) => Pick<DemoEvent, 'label' | 'userId'>,
  outcomeOf: (result: Result) => string,
): (input: Input) => Promise<Result> {
  return async (input) => {
    const at = Date.now()
    const startedAt = performance.now()
    const add = (outcome: string) =>
      feed.add({ lane: 'database', at, durationMs: performance.now() - startedAt, outcome, ...describe(input) })
    try {
      const result = await work(input)
      add(outcomeOf(result))
      return result
    } catch (error) {
      add((error as { code: string }).code)
      throw error
    }
  }
}

function describeState({ user, isDeleted, sessionStatus }: AuthState): string {
  if (isDeleted) return 'deleted'
  if (sessionStatus && isFinal(sessionStatus)) return `session ${sessionStatus}`
  return user ? 'found' : 'no row'
}

function readObject(text: unknown): Record<string, unknown> {
  try {
    return Object(JSON.parse(String(text)))
  } catch {
    return {}
  }
}

interface EventData {
  id?: string
  user_id?: string
  /** Of memberships. */
  public_user_data?: { user_id?: string }
}
const userOf = ({ id, user_id, public_user_data }: EventData) => public_user_data?.user_id ?? user_id ?? id
