/** Deletes old rows in small batches, on one replica at a time, so that other writers do not wait. */
import { type PgColumn, type PgTable, type SQL, sql } from './drizzle.ts'
import { $, type Executor, type Qualify, statement } from './statement.ts'

export const PRUNE_BATCH = 1_000
// "prun" in ASCII; combined with the schema, because each service in a database has its own ledger.
const PRUNE_LOCK = sql.raw(String(0x7072756e))

/** Tries to take the pruning lock, which is held until the statement ends. */
export const pruneLock = (t: Qualify): SQL =>
  sql`select pg_try_advisory_xact_lock(${PRUNE_LOCK}, hashtext(${t.schema})) as taken`

/**
 * Makes the function that deletes the rows of a table whose `time` is older than the retention, unless another process is pruning.
 * It returns how many. The lock lasts for one statement, because a pooler may run the next one on another connection.
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
