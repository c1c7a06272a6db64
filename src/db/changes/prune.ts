import { sql } from '../drizzle.ts'
import { PRUNE_BATCH, pruneLock } from '../pruning.ts'
import { syncState } from '../schema.ts'
import { $, type Executor, statement } from '../statement.ts'
import { PRUNED_JOB } from './read.ts'
import { changeDeliveries, changes } from './table.ts'

// Deletes from the start of the feed, and stores the position: a reader that was at or after it has missed nothing.
const prune = statement<{ pruned: number }>(
  'changes_prune',
  (t) => sql`with lock as materialized (${pruneLock(t)}),
  oldest as materialized (
    select xid, seq, occurred_at from ${t(changes)}
    where (select taken from lock) and xid < pg_snapshot_xmin(pg_current_snapshot())
    order by xid, seq limit ${sql.raw(String(PRUNE_BATCH))}),
  gone as (
    delete from ${t(changes)} c using oldest o
    where c.xid = o.xid and c.seq = o.seq and o.occurred_at < now() - make_interval(days => ${$(1)}::int)
    returning c.xid, c.seq),
  place as (
    insert into ${t(syncState)} (job, state)
    select '${sql.raw(PRUNED_JOB)}', jsonb_build_object('xid', xid::text, 'seq', seq::text) from gone order by xid desc, seq desc limit 1
    on conflict (job) do update set state = excluded.state, updated_at = now())
  select count(*)::int as pruned from gone`,
)
const pruneDead = statement(
  'change_deliveries_prune',
  (t) => sql`delete from ${t(changeDeliveries)} where dead_at < now() - make_interval(days => ${$(1)}::int)`,
)

/**
 * Deletes changes and dead letters that are older than the retention, in small batches, unless another process is pruning.
 * Returns the number of changes.
 */
export async function pruneChanges(executor: Executor, retentionDays: number): Promise<number> {
  await pruneDead(executor, retentionDays)
  let sum = 0
  for (;;) {
    const [{ pruned }] = (await prune(executor, retentionDays)) as [{ pruned: number }]
    sum += pruned
    if (pruned < PRUNE_BATCH) return sum
  }
}
