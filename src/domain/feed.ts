/** The change feed from a reader's view: the format of a change, and the cursors that mark a reader's position. */
import { type Static, Type } from '@sinclair/typebox'

export const ENTITIES = ['user', 'session', 'organization', 'membership', 'invitation', 'role'] as const
export const OPERATIONS = ['created', 'updated', 'deleted'] as const
export const CAUSES = ['webhook', 'clerk_api', 'session_claims', 'backfill'] as const

export type Entity = (typeof ENTITIES)[number]
export type Operation = (typeof OPERATIONS)[number]
export type Cause = (typeof CAUSES)[number]

/** The type of a change: `user.created`, `session.deleted`… */
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

/** One visible change of one row, with ids and column names only. Consumers read the row for the values; it is never older. */
export const FeedChange = Type.Object(
  {
    id: Type.String({ description: 'The same in every read and delivery of the change' }),
    entity: Type.Unsafe<Entity>({ type: 'string', enum: [...ENTITIES] }),
    entityId: Type.String({ description: "Clerk's id" }),
    op: Type.Unsafe<Operation>({
      type: 'string',
      enum: [...OPERATIONS],
      description:
        '`deleted` also stands for a tombstone, the end of a session or membership, and the revocation of an invitation; an object that comes back after that is `created`',
    }),
    changed: Type.Array(Type.String(), { description: 'Names of columns; empty for `created` and `deleted`' }),
    cause: Type.Unsafe<Cause | null>({
      type: ['string', 'null'],
      enum: [...CAUSES, null],
      description: 'How the service learned of the change; null if another program wrote to the table',
    }),
    occurredAt: Type.String({ format: 'date-time', description: 'When the transaction that wrote it began' }),
  },
  { title: 'FeedChange', examples: [CHANGE_EXAMPLE] },
)
export type FeedChange = Static<typeof FeedChange>

/** The type of a change, as used by webhooks and handlers. */
export const typeOf = ({ entity, op }: Pick<FeedChange, 'entity' | 'op'>): FeedType => `${entity}.${op}`

/**
 * A position in the feed: after the change that transaction `xid` wrote with number `seq`. Both are text, because they have 64
 * bits. Changes are read in this order, not by `seq` alone: a transaction may commit long after its numbers were assigned.
 */
export interface Position {
  xid: string
  seq: string
}

/** The position before the oldest change. */
export const START: Position = { xid: '0', seq: '0' }

/** Whether `a` comes after `b` in the feed. */
export function isAfter(a: Position, b: Position): boolean {
  const [aXid, bXid] = [BigInt(a.xid), BigInt(b.xid)]
  return aXid === bXid ? BigInt(a.seq) > BigInt(b.seq) : aXid > bXid
}

const CURSOR = /^c1\.([0-9a-z]{1,13})\.([0-9a-z]{1,13})$/
const MAX_XID = 2n ** 64n - 1n
const MAX_SEQ = 2n ** 63n - 1n

/** Encodes a position as an opaque cursor, without characters that a URL would escape. */
export const toCursor = ({ xid, seq }: Position): string => `c1.${BigInt(xid).toString(36)}.${BigInt(seq).toString(36)}`

/** Decodes a cursor; undefined if it is not valid. */
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
