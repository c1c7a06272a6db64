/** The tables of the change feed: the feed, the consumers' positions, and deliveries that wait or were given up. */
import { bigint, customType, index, integer, primaryKey, sql, text } from '../drizzle.ts'
import { type MakeTable, makeTable, time } from '../table.ts'

/** A transaction id without wraparound, as text because it has 64 bits. */
const xid8 = customType<{ data: string }>({ dataType: () => 'xid8' })

const columnsOfChange = () => ({
  entity: text('entity').notNull(),
  entityId: text('entity_id').notNull(),
  op: text('op').notNull(),
  changed: text('changed').array().notNull().default(sql`'{}'`),
  cause: text('cause'),
  occurredAt: time('occurred_at').notNull().defaultNow(),
})

/** One row for each visible change, written by triggers in the transaction of the change. Insert-only. */
export const changesIn = (table: MakeTable) =>
  table(
    'changes',
    {
      seq: bigint('seq', { mode: 'bigint' }).notNull().generatedAlwaysAsIdentity(),
      xid: xid8('xid').notNull().default(sql`pg_current_xact_id()`),
      ...columnsOfChange(),
    },
    // The order of reading. It must be a key, because a publication would otherwise refuse deletes by pruning.
    (table) => [primaryKey({ name: 'changes_pkey', columns: [table.xid, table.seq] })],
  )

/** The position of each consumer: everything up to it was delivered, or has a row in `change_deliveries`. */
export const changeConsumersIn = (table: MakeTable) =>
  table('change_consumers', {
    name: text('name').primaryKey(),
    xid: xid8('xid').notNull(),
    seq: bigint('seq', { mode: 'bigint' }).notNull(),
    createdAt: time('created_at').notNull().defaultNow(),
    updatedAt: time('updated_at').notNull().defaultNow(),
  })

/** Changes that a consumer has not accepted: retries, changes that wait behind one of their entity, and dead letters. */
export const changeDeliveriesIn = (table: MakeTable) =>
  table(
    'change_deliveries',
    {
      consumer: text('consumer').notNull(),
      seq: bigint('seq', { mode: 'bigint' }).notNull(),
      xid: xid8('xid').notNull(),
      // A copy, because the feed may be pruned first.
      ...columnsOfChange(),
      attempts: integer('attempts').notNull().default(0),
      /** The time of the next attempt; null while an earlier change of its entity has not been delivered. */
      nextAttemptAt: time('next_attempt_at'),
      /** When it was given up after the last retry. */
      deadAt: time('dead_at'),
      error: text('error'),
    },
    (table) => [
      primaryKey({ name: 'change_deliveries_pkey', columns: [table.consumer, table.xid, table.seq] }),
      index('change_deliveries_due_idx')
        .on(table.consumer, table.nextAttemptAt)
        .where(sql`next_attempt_at is not null`),
    ],
  )

export const changes = changesIn(makeTable)
export const changeConsumers = changeConsumersIn(makeTable)
export const changeDeliveries = changeDeliveriesIn(makeTable)
