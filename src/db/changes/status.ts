/** The state of the feed and its consumers, at a cost that does not grow with the feed. */

import type { DelayingTransaction } from '../../domain/feed-delay.ts'
import { resources } from '../../resources/index.ts'
import { getTableName, sql } from '../drizzle.ts'
import { $, type Executor, statement } from '../statement.ts'
import { changeConsumers, changeDeliveries, changes } from './table.ts'
import { TRIGGERS } from './trigger-sql.ts'

/** The limit up to which changes are counted. */
export const MAX_COUNTED = 10_000
const most = sql.raw(String(MAX_COUNTED))

export interface ConsumerStatus {
  name: string
  /** Changes that it has not received; counted up to 10,000. */
  behind: number
  /** The age of the oldest of them in seconds; 0 if there is none. */
  lagSeconds: number
  /** Deliveries that are being retried, or wait behind one that is. */
  waiting: number
  /** Deliveries that were given up. */
  dead: number
}

const selectConsumers = statement<ConsumerStatus>(
  'change_consumers_status',
  (t) => sql`select c.name,
    (select count(*)::int from (select from ${t(changes)} f where (f.xid, f.seq) > (c.xid, c.seq) limit ${most}) b) as behind,
    coalesce((select greatest(extract(epoch from clock_timestamp() - f.occurred_at), 0)::float8 from ${t(changes)} f
      where (f.xid, f.seq) > (c.xid, c.seq) order by f.xid, f.seq limit 1), 0) as "lagSeconds",
    (select count(*)::int from ${t(changeDeliveries)} d where d.consumer = c.name and d.dead_at is null) as waiting,
    (select count(*)::int from ${t(changeDeliveries)} d where d.consumer = c.name and d.dead_at is not null) as dead
  from ${t(changeConsumers)} c order by c.name`,
)

// The process with the oldest transaction id. Roles without pg_read_all_stats see ids and pids of other roles, but no times.
const selectDelay = statement<DelayingTransaction & { is_held: boolean }>(
  'changes_delay',
  (t) => sql`select * from (
    select a.pid, null as prepared, extract(epoch from clock_timestamp() - a.xact_start)::float8 as "ageSeconds",
      age(a.backend_xid) as transactions
    from pg_stat_activity a where a.backend_xid is not null and a.pid <> pg_backend_pid()
    union all
    select null, p.gid, extract(epoch from clock_timestamp() - p.prepared)::float8, age(p.transaction) from pg_prepared_xacts p) o,
    (select exists (select from ${t(changes)} where xid >= pg_snapshot_xmin(pg_current_snapshot())) as is_held) h
  order by o.transactions desc limit 1`,
)

const selectUnrecorded = statement<{ tables: string[] }>(
  'changes_unrecorded',
  (t) => sql`select coalesce(array_agg(name order by name), '{}') as tables from unnest(${$(1)}::text[]) name
  where (select count(*) from pg_trigger g where g.tgrelid = to_regclass(${t.schema} || '.' || name)
    and g.tgname = any(${$(2)}) and g.tgenabled <> 'D') < ${sql.raw(String(TRIGGERS.length))}`,
)

export interface ChangesStatus {
  consumers: ConsumerStatus[]
  /** The tables whose changes are not recorded, because they have no triggers of the feed. */
  unrecorded: string[]
  /** The oldest transaction, if it has been open long enough to report. */
  delay: DelayingTransaction | null
}

/** The age from which an open transaction is reported. */
export const DELAY_SECONDS = 60

export async function findChangesStatus(executor: Executor, delaySeconds = DELAY_SECONDS): Promise<ChangesStatus> {
  const consumers = await selectConsumers(executor)
  const [missing] = await selectUnrecorded(
    executor,
    resources.map(({ table }) => getTableName(table)),
    TRIGGERS,
  )
  const [oldest] = await selectDelay(executor)
  // If its age is not visible to the role, it is reported if it actually delays changes.
  const isNamed =
    oldest !== undefined && (oldest.ageSeconds === null ? oldest.is_held : oldest.ageSeconds >= delaySeconds)
  return {
    consumers,
    unrecorded: missing?.tables ?? [],
    delay: isNamed ? { pid: oldest.pid, prepared: oldest.prepared, ageSeconds: oldest.ageSeconds } : null,
  }
}
