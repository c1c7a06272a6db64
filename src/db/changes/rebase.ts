/**
 * Repairs a feed that was restored from a dump into another server, where transaction ids start again: changes with ids above the
 * server's current one could not be read for a long time, and consumers at such a position would receive nothing.
 */
import type pg from 'pg'
import { PRUNED_JOB } from './read.ts'

const isForeign = (schema: string) => `select
  exists (select from "${schema}".changes where xid >= pg_snapshot_xmax(pg_current_snapshot()))
  or exists (select from "${schema}".change_consumers where xid > pg_snapshot_xmax(pg_current_snapshot())) as yes`

// All changes get the id of this transaction, so their order is that of `seq`, which is right for each entity. Consumers continue
// before their first undelivered change; existing cursors expire.
const rebaseSql = (schema: string) => [
  `update "${schema}".change_consumers c set xid = pg_current_xact_id(), seq = coalesce(
    (select min(f.seq) - 1 from "${schema}".changes f where (f.xid, f.seq) > (c.xid, c.seq)),
    (select max(f.seq) from "${schema}".changes f), 0)`,
  `update "${schema}".changes set xid = pg_current_xact_id()`,
  `insert into "${schema}".sync_state (job, state)
    values ('${PRUNED_JOB}', jsonb_build_object('xid', pg_current_xact_id()::text, 'seq', '0'))
    on conflict (job) do update set state = excluded.state, updated_at = now()`,
]

/** The statements that renumber the feed, to be run in one transaction; none if its ids are valid on this server. */
export async function findRebase(client: pg.Client, schema: string): Promise<string[]> {
  const { rows } = await client.query<{ yes: boolean }>(isForeign(schema))
  return rows[0]?.yes ? rebaseSql(schema) : []
}
