/** Reads the change feed in the order of transactions, up to the point where no older transaction can still commit. */

import { type FeedChange, isAfter, type Position, START } from '../../domain/feed.ts'
import { sql } from '../drizzle.ts'
import { syncState } from '../schema.ts'
import { $, type Executor, milliseconds, type Qualify, statement } from '../statement.ts'
import { changes } from './table.ts'

/** A change and its position in the feed. */
export interface FeedEntry {
  position: Position
  change: FeedChange
}

export interface FeedPage {
  entries: FeedEntry[]
  /** The position from which to continue: after the last entry, or the reader's own. */
  next: Position
  hasMore: boolean
  /** The oldest transaction that was still running. */
  horizon: string
  /** Whether there are changes that cannot be read yet, because an older transaction is still running. */
  isHeld: boolean
  /** Whether changes after the reader's position were pruned, or the position belongs to a database that this one was copied from. */
  isExpired: boolean
}

export interface EntryRow {
  xid: string
  seq: string
  entity: FeedChange['entity']
  entity_id: string
  op: FeedChange['op']
  changed: string[]
  cause: FeedChange['cause']
  occurred_at: number
}

// A transaction may commit long after its id was assigned. All ids below the oldest running transaction have ended, so no change
// can still appear among them.
const horizon = sql.raw('pg_snapshot_xmin(pg_current_snapshot())')
export const PRUNED_JOB = 'changes pruned'

/** The columns of a change that `toEntry` reads. */
export const entryColumns = (row: string) =>
  sql`${sql.raw(`${row}.xid::text as xid, ${row}.seq::text as seq, ${row}.entity, ${row}.entity_id, ${row}.op, ${row}.changed, ${row}.cause`)},
    ${milliseconds(sql.raw(`${row}.occurred_at`))} as occurred_at`

const select = statement<
  { [K in keyof EntryRow]: EntryRow[K] | null } & {
    horizon: string
    newest: string
    pruned: Position | null
    is_held: boolean
  }
>(
  'changes_read',
  (t: Qualify) => sql`select e.*, ${horizon}::text as horizon, pg_snapshot_xmax(pg_current_snapshot())::text as newest,
    (select state from ${t(syncState)} where job = '${sql.raw(PRUNED_JOB)}') as pruned,
    exists (select from ${t(changes)} where xid >= ${horizon}) as is_held
  from (select) here left join (
    select ${entryColumns('c')}, c.xid as by_xid, c.seq as by_seq from ${t(changes)} c
    where (c.xid, c.seq) > (${$(1)}::xid8, ${$(2)}::bigint) and c.xid < ${horizon}
    order by c.xid, c.seq limit ${$(3)}) e on true
  order by e.by_xid, e.by_seq`,
)

/**
 * The changes after a position, oldest first.
 * @param after by default the start of the feed
 * @param limit the largest number of changes
 */
export async function readChanges(executor: Executor, after: Position | undefined, limit: number): Promise<FeedPage> {
  const { xid, seq } = after ?? START
  const rows = await select(executor, xid, seq, limit + 1)
  const [{ horizon, newest, pruned, is_held: isHeld }] = rows as [(typeof rows)[number]]
  const found = rows.filter((row): row is typeof row & EntryRow => row.xid !== null)
  const entries = found.slice(0, limit).map(toEntry)
  const isExpired =
    after !== undefined && ((pruned !== null && isAfter(pruned, after)) || BigInt(after.xid) > BigInt(newest))
  // A reader without new changes can continue from here: everything that this snapshot did not see has a higher id.
  const here = { xid: horizon, seq: '0' }
  return {
    entries,
    next: entries.at(-1)?.position ?? (isExpired ? here : (after ?? here)),
    hasMore: found.length > limit,
    horizon,
    isHeld,
    isExpired,
  }
}

const selectLatest = statement<{ xid: string }>('changes_latest', () => sql`select ${horizon}::text as xid`)

/** The position after everything that can be read now. */
export async function findLatest(executor: Executor): Promise<Position> {
  const [row] = (await selectLatest(executor)) as [{ xid: string }]
  return { xid: row.xid, seq: '0' }
}

export const toEntry = (row: EntryRow): FeedEntry => ({
  position: { xid: row.xid, seq: row.seq },
  change: {
    id: idOf(row.seq),
    entity: row.entity,
    entityId: row.entity_id,
    op: row.op,
    changed: row.changed,
    cause: row.cause,
    occurredAt: new Date(row.occurred_at).toISOString(),
  },
})

/** The id of the change with this number. */
export const idOf = (seq: string): string => `chg_${seq}`
