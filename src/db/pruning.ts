/** Deleting what is old in small batches, by one replica at a time, so that nothing else ever waits for it. */
import { type SQL, sql } from 'drizzle-orm'
import type { PgColumn, PgTable } from 'drizzle-orm/pg-core'
import { $, type Executor, type Qualify, statement } from './statement.ts'

export const PRUNE_BATCH = 1_000
// "prun" in ASCII, and the schema: services beside each other in one database have a ledger each.
const PRUNE_LOCK = sql.raw(String(0x7072756e))

/** The query that says whether nobody else prunes: the lock is held until its statement ends. */
export const pruneLock = (t: Qualify): SQL =>
  sql`select pg_try_advisory_xact_lock(${PRUNE_LOCK}, hashtext(${t.schema})) as taken`

/**
 * Makes the function that deletes the rows of a table whose `time` is more than so many days ago, as long as nobody else
 * prunes. It returns how many. The lock is of a statement alone: poolers hand the next one to another connection.
 */
export function pruning(name: string, table: PgTable & { id: PgColumn }, time: SQL, condition: SQL = sql`true`) {
  const prune = statement<{ id: string }>(
    name,
    (t) => sql`with lock as materialized (${pruneLock(t)})
  delete from ${t(table)} where id in (
    select id from ${t(table)}
    where (select taken from lock) and ${condition} and ${time} < now() - make_interval(days => ${$(1)}::int)
    order by ${time} limit ${sql.raw(String(PRUNE_BATCH))} for update skip locked)
  returning id`,
  )
  return async (executor: Executor, retentionDays: number): Promise<number> => {
    let pruned = 0
    for (;;) {
      const rows = await prune(executor, retentionDays)
      pruned += rows.length
      if (rows.length < PRUNE_BATCH) return pruned
    }
  }
}
