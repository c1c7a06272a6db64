/** Compares the rows of a resource with Clerk's lists, for backfill and reconcile. */

import type { Versioned } from '../domain/versioned.ts'
import { getTableColumns, type PgTable, sql } from './drizzle.ts'
import { reconcileSeen } from './schema.ts'
import { $, type Executor, statement } from './statement.ts'
import type { VersionedTable } from './versioned.ts'

export type ListedDifference = 'missing' | 'stale' | 'same' | 'deleted'

interface LivingRow {
  id: string
  organization_id: string | null
  user_id: string | null
  is_seen: boolean
}

const BATCH = 1_000

export type ListedRows = ReturnType<typeof listedRows>

/** Makes the reads of one table. */
export function listedRows(name: string, table: PgTable & VersionedTable) {
  const columns = getTableColumns(table)
  const optional = (column: string) => sql.raw(columns[column] ? `r.${columns[column].name}` : 'null')

  // A membership that ended with its organization or user has no deletion of its own.
  const isLiving = sql.raw(`deleted_at is null${columns.endedAt ? ' and ended_at is null' : ''}`)

  const compare = statement<{ id: string; difference: ListedDifference }>(
    `${name}_compare`,
    (t) => sql`select i.id, case
      when r.id is null or (r.deleted_at is not null and r.sync_source = 'clerk_api') then 'missing'
      when r.deleted_at is not null then 'deleted'
      when r.clerk_updated_at < to_timestamp(i.updated_at / 1000) then 'stale'
      else 'same' end as difference
    from json_to_recordset(${$(1)}::json) as i(id text, updated_at float8)
    left join ${t(table)} r on r.id = i.id`,
  )
  const living = statement<LivingRow>(
    `${name}_unseen`,
    (t) => sql`select r.id, ${optional('organizationId')} as organization_id, ${optional('userId')} as user_id,
      seen.id is not null as is_seen
    from (select * from ${t(table)}
      where id > ${$(1)} and ${isLiving} and created_at <= to_timestamp(${$(2)}::float8 / 1000)
      order by id limit ${sql.raw(String(BATCH))}) r
    left join ${t(reconcileSeen)} seen on seen.id = r.id order by r.id`,
  )
  const count = statement<{ living: number }>(
    `${name}_count`,
    (t) => sql`select count(*)::int as living from ${t(table)} where ${isLiving}`,
  )

  return {
    /** Compares each of these objects with its row. */
    async compare(executor: Executor, listed: readonly Versioned[]): Promise<Map<string, ListedDifference>> {
      const rows = listed.map(({ id, version }) => ({ id, updated_at: version.updatedAt }))
      return new Map((await compare(executor, JSON.stringify(rows))).map(({ id, difference }) => [id, difference]))
    },
    /** Rows that are not deleted, existed at `atMs`, and are not among the seen ids. */
    async *unseen(executor: Executor, atMs: number) {
      let after = ''
      for (;;) {
        const rows = await living(executor, after, atMs)
        for (const { id, organization_id, user_id, is_seen } of rows) {
          if (!is_seen) yield { id, organizationId: organization_id, userId: user_id }
        }
        if (rows.length < BATCH) return
        after = (rows.at(-1) as LivingRow).id
      }
    },
    async countLiving(executor: Executor): Promise<number> {
      const [row] = await count(executor)
      return (row as { living: number }).living
    },
  }
}
