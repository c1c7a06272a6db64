/** The change feed as its readers see it: what a change is, and the cursors that say how far somebody has read. */
import { type Static, Type } from '@sinclair/typebox'

export const ENTITIES = ['user', 'session', 'organization', 'membership', 'invitation', 'role'] as const
export const OPERATIONS = ['created', 'updated', 'deleted'] as const
export const CAUSES = ['webhook', 'clerk_api', 'session_claims', 'backfill'] as const

export type Entity = (typeof ENTITIES)[number]
export type Operation = (typeof OPERATIONS)[number]
export type Cause = (typeof CAUSES)[number]

/** What a change is about: `user.created`, `session.deleted`… */
export type FeedType = `${Entity}.${Operation}`

export const FEED_TYPES: readonly FeedType[] = ENTITIES.flatMap((entity) =>
  OPERATIONS.map((op) => `${entity}.${op}` as const),
)

export const CHANGE_EXAMPLE = {
  id: 'chg_1042',
  entity: 'user' as const,
  entityId: 'user_2w5X8yBvTq',
  op: 'updated' as const,
  changed: ['email', 'email_verified'],
  cause: 'webhook' as const,
  occurredAt: '2026-01-02T03:04:05.678Z',
}

/** One visible change of one row. Ids and names only: whoever needs the data reads the row, which is never older. */
export const FeedChange = Type.Object(
  {
    id: Type.String({ description: 'The same whenever and however the change is read or delivered' }),
    entity: Type.Unsafe<Entity>({ type: 'string', enum: [...ENTITIES] }),
    entityId: Type.String({ description: "Clerk's id" }),
    op: Type.Unsafe<Operation>({
      type: 'string',
      enum: [...OPERATIONS],
      description:
        '`deleted` is also the tombstone, the end of a session or membership, and the revocation of an invitation; what comes back after that is `created`',
    }),
    changed: Type.Array(Type.String(), { description: 'Names of columns; empty for `created` and `deleted`' }),
    cause: Type.Unsafe<Cause | null>({
      type: ['string', 'null'],
      enum: [...CAUSES, null],
      description: 'How the service heard of it; null when somebody else wrote to the table',
    }),
    occurredAt: Type.String({ format: 'date-time', description: 'When the transaction began that wrote it' }),
  },
  { title: 'FeedChange', examples: [CHANGE_EXAMPLE] },
)
export type FeedChange = Static<typeof FeedChange>

/** The type of a change, as webhooks and handlers name it. */
export const typeOf = ({ entity, op }: Pick<FeedChange, 'entity' | 'op'>): FeedType => `${entity}.${op}`

/**
 * A place in the feed: behind the change that transaction `xid` wrote as number `seq`. Both are 64 bits wide, so they are
 * text here. Changes are read in this order, and not by `seq` alone: a transaction may commit long after it took its numbers.
 */
export interface Position {
  xid: string
  seq: string
}

/** Before the oldest change. */
export const START: Position = { xid: '0', seq: '0' }

/** Whether `a` is behind `b`. */
export function isBehind(a: Position, b: Position): boolean {
  const [aXid, bXid] = [BigInt(a.xid), BigInt(b.xid)]
  return aXid === bXid ? BigInt(a.seq) > BigInt(b.seq) : aXid > bXid
}

const CURSOR = /^c1\.([0-9a-z]{1,13})\.([0-9a-z]{1,13})$/
const MAX_XID = 2n ** 64n - 1n
const MAX_SEQ = 2n ** 63n - 1n

/** A position as readers keep it: opaque to them, and without a character that a URL would escape. */
export const toCursor = ({ xid, seq }: Position): string => `c1.${BigInt(xid).toString(36)}.${BigInt(seq).toString(36)}`

/** The position that a cursor stands for; undefined when it is none of ours. */
export function fromCursor(cursor: string): Position | undefined {
  const [, xidText, seqText] = CURSOR.exec(cursor) ?? []
  if (xidText === undefined || seqText === undefined) return undefined
  const [xid, seq] = [fromBase36(xidText), fromBase36(seqText)]
  if (xid > MAX_XID || seq > MAX_SEQ) return undefined
  const position = { xid: String(xid), seq: String(seq) }
  return toCursor(position) === cursor ? position : undefined
}

function fromBase36(text: string): bigint {
  let value = 0n
  for (const digit of text) value = value * 36n + BigInt(Number.parseInt(digit, 36))
  return value
}
