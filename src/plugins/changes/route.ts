import { type FastifyPluginAsyncTypebox, Type } from '@fastify/type-provider-typebox'
import { CHANGE_EXAMPLE, FeedChange, fromCursor, type Position, toCursor } from '../../domain/feed.ts'
import {
  ChangesTokenInvalid,
  CursorExpired,
  errorReplyOf,
  errorReplySchemas,
  InvalidCursor,
  withoutCredentials,
} from '../../errors.ts'
import type { ChangeWatch } from '../../jobs/watch-changes.ts'
import { checkOptions, optionsOf, secret } from '../check-options.ts'
import { createTokenCheck } from '../token-check.ts'

/** What the route needs to read the feed. */
export interface ChangesFeed {
  watch: ChangeWatch
  /** Answers all waiting requests, for example when the app closes. */
  closing: AbortSignal
  /** Converts database errors into the error reply. */
  withUnavailable: <T>(work: Promise<T>) => Promise<T>
}

export interface ChangesRouteOptions {
  token: string
}

const OPTIONS = optionsOf<ChangesRouteOptions>({ token: secret(16) })
const MAX_WAIT_SECONDS = 30

const Query = Type.Object({
  after: Type.Optional(
    Type.String({
      maxLength: 64,
      description:
        'The `cursor` of the previous reply, or `latest` for changes from now on; default: the oldest change that is kept',
    }),
  ),
  limit: Type.Integer({
    minimum: 1,
    maximum: 1_000,
    default: 100,
    description: 'The largest number of changes to return',
  }),
  wait: Type.Integer({
    minimum: 0,
    maximum: MAX_WAIT_SECONDS,
    default: 0,
    description: 'Seconds to wait if there is no change yet (long poll)',
  }),
})

export const ChangesReply = Type.Object(
  {
    changes: Type.Array(FeedChange, {
      description: 'Oldest first; changes of one entity are in the order in which they happened',
    }),
    cursor: Type.String({ description: 'Opaque; send it as `after` in the next request' }),
    hasMore: Type.Boolean({ description: 'Whether more changes are available now' }),
  },
  {
    description: 'The changes after the cursor, or none after `wait` seconds',
    examples: [{ changes: [CHANGE_EXAMPLE], cursor: 'c1.n8.sy', hasMore: false }],
  },
)

/** `GET /api/changes`: the change feed by long poll. Needs the plugin `clerk-changes`. */
const changes: FastifyPluginAsyncTypebox<ChangesRouteOptions> = async (app, options) => {
  checkOptions('clerkChanges', OPTIONS, options)
  const { watch, closing, withUnavailable } = app.clerkChangesFeed
  const check = createTokenCheck(options.token)

  app.get(
    '/api/changes',
    {
      config: { cors: false, rateLimit: false },
      schema: {
        tags: ['changes'],
        summary: 'Created, updated and deleted users, sessions and other entities',
        description:
          'Complete and in order: continue from `cursor` and no change is skipped, however late its transaction committed. Changes hold ids and column names only; read the rows for the values.',
        security: [{ changesToken: [] }],
        querystring: Query,
        response: {
          200: ChangesReply,
          400: errorReplyOf(InvalidCursor),
          401: errorReplyOf(ChangesTokenInvalid),
          410: errorReplyOf(CursorExpired),
          ...errorReplySchemas(503),
        },
      },
      async onRequest({ headers }, reply) {
        reply.headers({ 'cache-control': 'no-store', vary: 'Authorization' })
        const result = check(headers.authorization)
        if (result === 'missing') throw withoutCredentials(new ChangesTokenInvalid())
        if (result === 'wrong') throw new ChangesTokenInvalid()
      },
    },
    async ({ query: { after, limit, wait }, raw }, reply) => {
      const left = new AbortController()
      reply.raw.once('close', () => left.abort())
      const giveUp = AbortSignal.any([closing, left.signal, AbortSignal.timeout(wait * 1_000)])

      const place = await placeOf(after)
      if (wait > 0 && place !== undefined && watch.isUpToDate(place) && !raw.destroyed) return replyOf(place)
      const page = await withUnavailable(watch.read(place, limit))
      if (page.isExpired) throw new CursorExpired()
      if (page.entries.length > 0 || wait === 0) return describe(page)
      return replyOf(page.next)

      async function replyOf(from: Position) {
        const found = await watch.wait(from, limit, giveUp)
        return describe(found ?? { entries: [], next: from, hasMore: false })
      }
    },
  )

  async function placeOf(after: string | undefined): Promise<Position | undefined> {
    if (after === undefined) return undefined
    if (after === 'latest') return withUnavailable(watch.latest())
    const place = fromCursor(after)
    if (!place) throw new InvalidCursor()
    return place
  }
}
export default changes

const describe = ({
  entries,
  next,
  hasMore,
}: {
  entries: { change: FeedChange }[]
  next: Position
  hasMore: boolean
}) => ({
  changes: entries.map(({ change }) => change),
  cursor: toCursor(next),
  hasMore,
})
