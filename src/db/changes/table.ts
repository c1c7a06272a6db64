/** The tables of the change feed: the feed itself, how far each consumer is, and the deliveries that wait or were given up. */
import { sql } from 'drizzle-orm'
import { bigint, customType, index, integer, primaryKey, text } from 'drizzle-orm/pg-core'
import { type MakeTable, makeTable, time } from '../table.ts'

/** A transaction's id that never wraps round: as text, since it has 64 bits. */
const xid8 = customType<{ data: string }>({ dataType: () => 'xid8' })

const columnsOfChange = () => ({
  entity: text('entity').notNull(),
  entityId: text('entity_id').notNull(),
  op: text('op').notNull(),
  changed: text('changed').array().notNull().default(sql`'{}'`),
  cause: text('cause'),
  occurredAt: time('occurred_at').notNull().defaultNow(),
})

/** One row a visible change, written by triggers in the transaction of the change. Insert-only. */
export const changesIn = (table: MakeTable) =>
  table(
    'changes',
    {
      seq: bigint('seq', { mode: 'bigint' }).notNull().generatedAlwaysAsIdentity(),
      xid: xid8('xid').notNull().default(sql`pg_current_xact_id()`),
      ...columnsOfChange(),
    },
    // The order of reading; and a key, without which a publication would refuse the deletes of the pruning.
    (table) => [primaryKey({ name: 'changes_pkey', columns: [table.xid, table.seq] })],
  )

/** How far each consumer is: everything up to here was delivered, or is a row of `change_deliveries`. */
export const changeConsumersIn = (table: MakeTable) =>
  table('change_consumers', {
    name: text('name').primaryKey(),
    xid: xid8('xid').notNull(),
    seq: bigint('seq', { mode: 'bigint' }).notNull(),
    createdAt: time('created_at').notNull().defaultNow(),
    updatedAt: time('updated_at').notNull().defaultNow(),
  })

/** Changes that a consumer has not accepted: those to be tried again, those that wait behind one of their entity, dead letters. */
export const changeDeliveriesIn = (table: MakeTable) =>
  table(
    'change_deliveries',
    {
      consumer: text('consumer').notNull(),
      seq: bigint('seq', { mode: 'bigint' }).notNull(),
      xid: xid8('xid').notNull(),
      // A copy, since the feed may be pruned first.
      ...columnsOfChange(),
      attempts: integer('attempts').notNull().default(0),
      /** When it is tried again; null while an earlier change of its entity is not through. */
      nextAttemptAt: time('next_attempt_at'),
      /** When the schedule was over. */
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
