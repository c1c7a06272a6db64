/** The OpenAPI description of the webhooks that the change feed sends. */
import { Type } from '@sinclair/typebox'
import { CHANGE_EXAMPLE, FEED_TYPES, FeedChange, type FeedType } from '../../domain/feed.ts'

/** The body of a change feed webhook. */
export const PushBody = Type.Object({
  type: Type.Unsafe<FeedType>({ type: 'string', enum: [...FEED_TYPES] }),
  timestamp: Type.String({ format: 'date-time', description: 'When it happened' }),
  data: Type.Object({
    id: Type.String({ description: "Clerk's id of the user, session or other entity" }),
    changed: FeedChange.properties.changed,
    cause: FeedChange.properties.cause,
  }),
})

const { entityId, occurredAt, changed, cause } = CHANGE_EXAMPLE

const header = (name: string, description: string) => ({
  in: 'header' as const,
  name,
  description,
  required: true,
  schema: { type: 'string' as const },
})

/** The document's `webhooks` entries that this service sends. */
export function describePush() {
  return {
    change: {
      post: {
        tags: ['changes'],
        summary: 'The change feed, pushed to `CHANGES_WEBHOOK_URL`',
        description:
          'Standard Webhooks: at least once, and in order for each entity. Answer with a 2xx within 15 s, also to a change id that you have already processed.',
        parameters: [
          header('webhook-id', 'The id of the change, the same on every attempt'),
          header('webhook-timestamp', 'Unix seconds of this attempt'),
          header(
            'webhook-signature',
            'v1,<base64 of the HMAC-SHA256 of `id.timestamp.body` with the key of CHANGES_WEBHOOK_SECRET>',
          ),
        ],
        requestBody: {
          required: true,
          content: {
            'application/json': {
              schema: PushBody,
              example: { type: 'user.updated', timestamp: occurredAt, data: { id: entityId, changed, cause } },
            },
          },
        },
        responses: {
          '200': { description: 'Any 2xx: the change is delivered' },
          default: { description: 'The change is sent again: after 5 s, 5 min, 30 min, 2 h, 5 h, 10 h and 10 h' },
        },
      },
    },
  }
}
