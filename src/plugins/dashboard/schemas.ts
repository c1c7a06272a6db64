/** The requests and replies of the dashboard's API. Times are ISO 8601 in UTC. */
import { Type } from '@sinclair/typebox'

const Time = Type.String({ format: 'date-time' })
const Nullable = <T>(type: string) => Type.Unsafe<T | null>({ type: [type, 'null'] })
const Count = Type.Integer({ minimum: 0 })

// For the examples.
const AT = '2026-01-02T03:04:05.678Z'
const USER = 'user_2w5X8yBvTq'
const EVENT = 'msg_2w5X8yFvTq'

/** The time ranges of the charts, with their bucket sizes. */
export const RANGES = {
  '1h': { stepSeconds: 60, count: 60 },
  '6h': { stepSeconds: 300, count: 72 },
  '24h': { stepSeconds: 900, count: 96 },
}

export const OverviewQuery = Type.Object({
  range: Type.Unsafe<keyof typeof RANGES>({ type: 'string', enum: Object.keys(RANGES), default: '1h' }),
})

const Bucket = Type.Object({
  at: Time,
  applied: Count,
  stale: Count,
  ignored: Count,
  failed: Count,
  usersCreated: Count,
  usersDeleted: Count,
  delayMedianSeconds: Nullable<number>('number'),
  delayP95Seconds: Nullable<number>('number'),
  auth: Type.Record(Type.String(), Count, { description: 'Tokens by result, on this replica since its start' }),
})

const FailedEvent = Type.Object({
  id: Type.String(),
  type: Type.String(),
  objectId: Nullable<string>('string'),
  error: Nullable<string>('string'),
  attempts: Count,
  receivedAt: Time,
  isReplayable: Type.Boolean({ description: 'Whether its body was kept' }),
})

export const OverviewReply = Type.Object(
  {
    range: Type.String(),
    stepSeconds: Count,
    isComplete: Type.Boolean({
      description: 'False if there were too many webhooks to count; the oldest are missing',
    }),
    buckets: Type.Array(Bucket, { description: 'Webhooks by the time of their first delivery, oldest first' }),
    tables: Type.Object({
      users: Type.Number({ description: 'Including deleted users; estimated above 1,000' }),
      sessions: Type.Number(),
      organizations: Type.Number(),
      memberships: Type.Number({ description: 'Including ended memberships' }),
      failedEvents: Type.Integer({ description: 'Counted up to 1,000' }),
    }),
    lastByType: Type.Array(
      Type.Object({
        type: Type.String(),
        messages: Count,
        lastReceivedAt: Nullable<string>('string'),
        lastOutcome: Nullable<string>('string'),
      }),
      { description: 'Among the newest 10,000 webhooks; handled types without one are null' },
    ),
    failedEvents: Type.Array(FailedEvent, { description: 'The newest 100' }),
    changes: Type.Optional(
      Type.Object(
        {
          consumers: Type.Array(
            Type.Object({
              name: Type.String(),
              behind: Type.Integer({ description: 'Changes that the consumer has not received; counted up to 10,000' }),
              lagSeconds: Type.Number({ description: 'The age of the oldest of them' }),
              waiting: Type.Integer({ description: 'Deliveries that are being retried, or wait behind one that is' }),
              dead: Type.Integer({ description: 'Deliveries that were given up' }),
            }),
          ),
          deadLetters: Type.Array(
            Type.Object({
              consumer: Type.String(),
              id: Type.String({ description: 'The id of the change' }),
              type: Type.String(),
              entityId: Type.String(),
              attempts: Count,
              error: Nullable<string>('string'),
              occurredAt: Time,
              deadAt: Time,
            }),
            { description: 'The oldest 100' },
          ),
        },
        { description: 'The change feed; missing if it is off' },
      ),
    ),
  },
  {
    description: 'The data',
    examples: [
      {
        range: '1h',
        stepSeconds: 60,
        isComplete: true,
        buckets: [
          {
            at: AT,
            applied: 3,
            stale: 0,
            ignored: 1,
            failed: 1,
            usersCreated: 2,
            usersDeleted: 0,
            delayMedianSeconds: 0.4,
            delayP95Seconds: 1.2,
            auth: { OK: 12 },
          },
        ],
        tables: { users: 42, sessions: 17, organizations: 3, memberships: 45, failedEvents: 1 },
        lastByType: [{ type: 'user.created', messages: 3, lastReceivedAt: AT, lastOutcome: 'applied' }],
        failedEvents: [
          {
            id: EVENT,
            type: 'user.updated',
            objectId: USER,
            error: 'data: Expected required property id',
            attempts: 2,
            receivedAt: AT,
            isReplayable: true,
          },
        ],
      },
    ],
  },
)

export const ReplayParams = Type.Object({
  id: Type.String({ minLength: 1, maxLength: 256, description: 'The Svix message id' }),
})
/** A JSON object, which a form on another site cannot send. */
export const ReplayBody = Type.Object({})
export const ReplayReply = Type.Object(
  {
    id: Type.String(),
    outcome: Type.String({ description: 'applied, duplicate, stale, ignored, or failed again' }),
    error: Type.Optional(Type.String()),
  },
  { description: 'The result', examples: [{ id: EVENT, outcome: 'applied' }] },
)

export const DismissReply = Type.Object({ id: Type.String() }, { description: 'Discarded', examples: [{ id: EVENT }] })

export const SearchBody = Type.Object({
  query: Type.String({
    minLength: 1,
    maxLength: 320,
    pattern: '^[^\\u0000]*$',
    description: 'A user id, an exact email address, or an organization id',
  }),
})
export const SearchReply = Type.Object(
  {
    users: Type.Array(
      Type.Object({
        id: Type.String(),
        email: Nullable<string>('string'),
        name: Nullable<string>('string'),
        isBanned: Type.Boolean(),
        syncSource: Type.String(),
        createdAt: Time,
        updatedAt: Time,
        deletedAt: Nullable<string>('string'),
      }),
    ),
    sessions: Type.Array(
      Type.Object({ id: Type.String(), userId: Type.String(), status: Type.String(), updatedAt: Time }),
    ),
    memberships: Type.Array(
      Type.Object({
        organizationId: Nullable<string>('string'),
        organization: Nullable<string>('string'),
        userId: Nullable<string>('string'),
        email: Nullable<string>('string'),
        role: Nullable<string>('string'),
        updatedAt: Time,
        endedAt: Nullable<string>('string'),
      }),
      { description: 'Of the users found, or of the organization' },
    ),
    events: Type.Array(
      Type.Object({ id: Type.String(), type: Type.String(), outcome: Type.String(), receivedAt: Time }),
    ),
  },
  {
    description: 'The users that were found, with their newest sessions and webhooks',
    examples: [
      {
        users: [
          {
            id: USER,
            email: 'ada@example.com',
            name: 'Ada Lovelace',
            isBanned: false,
            syncSource: 'webhook',
            createdAt: AT,
            updatedAt: AT,
            deletedAt: null,
          },
        ],
        sessions: [{ id: 'sess_2w5X8yDvTq', userId: USER, status: 'active', updatedAt: AT }],
        memberships: [
          {
            organizationId: 'org_2w5X8yEvTq',
            organization: 'Analytical Engines',
            userId: USER,
            email: 'ada@example.com',
            role: 'org:admin',
            updatedAt: AT,
            endedAt: null,
          },
        ],
        events: [{ id: EVENT, type: 'user.created', outcome: 'applied', receivedAt: AT }],
      },
    ],
  },
)
