/** Compares the rows of `users` with Clerk, for a reconcile. */
import { sql } from '../../db/drizzle.ts'
import { reconcileSeen } from '../../db/schema.ts'
import { $, type Executor, milliseconds, sqlTimeOf, statement } from '../../db/statement.ts'
import type { ComparedRow, Difference } from '../../domain/drift.ts'
import type { Version } from '../../domain/version.ts'
import type { UserSnapshot } from './change.ts'
import { users } from './table.ts'
import { flagColumns, inputsOf, inputTypesOf, list, profileColumns, toRow } from './upsert.ts'

interface CompareRow {
  id: string
  difference: Difference
  updated_at: number | null
  event_at: number | null
}

// Without the metadata of SYNC_METADATA, which may not be stored; rows of the same version count as equal in them.
const COMPARED = [...profileColumns, ...flagColumns]
const INPUT = [users.id, users.clerkUpdatedAt, ...COMPARED]
const version = (row: string) => sql`${milliseconds(sql.raw(`${row}.clerk_updated_at`))} as updated_at,
    ${milliseconds(sql.raw(`${row}.clerk_event_at`))} as event_at`

const compare = statement<CompareRow>(
  'users_compare',
  (t) => sql`select i.id, ${version('u')},
    case when u.id is null or (u.deleted_at is not null and u.sync_source = 'clerk_api') then 'missing'
      when u.deleted_at is not null then 'deleted'
      when u.clerk_updated_at is null or u.clerk_updated_at < ${sqlTimeOf('clerk_updated_at')} then 'stale'
      when u.clerk_updated_at > ${sqlTimeOf('clerk_updated_at')} then 'newer'
      when (${list(COMPARED, (name) => `u.${name}`)}) is distinct from (${inputsOf(COMPARED)}) then 'different'
      else 'same' end as difference
  from json_to_recordset(${$(1)}::json) as i(${inputTypesOf(INPUT)})
  left join ${t(users)} u on u.id = i.id`,
)

/** Compares each of these users with its current row. */
export async function compareUsers(executor: Executor, snapshots: readonly UserSnapshot[]): Promise<ComparedRow[]> {
  const rows = await compare(executor, JSON.stringify(snapshots.map(toRow)))
  return rows.map(({ id, difference, updated_at, event_at }) => ({
    id,
    difference,
    version: updated_at === null ? null : { updatedAt: updated_at, eventAt: event_at },
  }))
}

const living = statement<{ id: string; updated_at: number | null; event_at: number | null }>(
  'users_living',
  (t) => sql`select u.id, ${version('u')}
  from ${t(users)} u where u.id = any(${$(1)}::text[]) and u.deleted_at is null`,
)

/** The users among these that are not deleted, with the versions of their rows. */
export async function findLiving(executor: Executor, ids: readonly string[]): Promise<Map<string, Version | null>> {
  const rows = await living(executor, ids)
  return new Map(
    rows.map(({ id, updated_at, event_at }) => [
      id,
      updated_at === null ? null : { updatedAt: updated_at, eventAt: event_at },
    ]),
  )
}

const clearSeen = statement<{ id: string }>(
  'seen_clear',
  (t) => sql`delete from ${t(reconcileSeen)} where id in (select id from ${t(reconcileSeen)} limit 10000) returning id`,
)
const insertSeen = statement(
  'seen_insert',
  (t) => sql`insert into ${t(reconcileSeen)} select unnest(${$(1)}::text[]) on conflict do nothing`,
)
const selectUnseen = statement<{ id: string; is_seen: boolean }>(
  'users_unseen',
  (t) => sql`select u.id, seen.id is not null as is_seen from (
    select id from ${t(users)}
    where id > ${$(1)} and deleted_at is null and created_at <= to_timestamp(${$(2)}::float8 / 1000)
    order by id limit ${$(3)}::int) u
  left join ${t(reconcileSeen)} seen on seen.id = u.id order by u.id`,
)

const UNSEEN_BATCH = 5_000

/** Starts an empty list of ids that were seen at Clerk. For one job at a time. */
export async function createSeenIds(executor: Executor) {
  const clear = async () => {
    while ((await clearSeen(executor)).length > 0);
  }
  await clear()
  return {
    clear,
    async add(ids: readonly string[]): Promise<void> {
      await insertSeen(executor, ids)
    },
    /** Batches of ids of users that are not deleted, whose rows existed at `atMs`, and that were not seen. */
    async *unseen(atMs: number): AsyncGenerator<string[]> {
      let after = ''
      for (;;) {
        const rows = await selectUnseen(executor, after, atMs, UNSEEN_BATCH)
        yield rows.flatMap(({ id, is_seen }) => (is_seen ? [] : id))
        if (rows.length < UNSEEN_BATCH) return
        after = (rows.at(-1) as { id: string }).id
      }
    },
  }
}
export type SeenIds = Awaited<ReturnType<typeof createSeenIds>>

const measure = statement<{ now: number; living: number }>(
  'users_measure',
  (t) => sql`select ${milliseconds(sql`date_trunc('milliseconds', now())`)} as now,
    (select count(*)::int from ${t(users)} where deleted_at is null) as living`,
)

/** PostgreSQL's clock, and how many users are not deleted. */
export async function measureUsers(executor: Executor): Promise<{ now: number; living: number }> {
  return (await measure(executor))[0] as { now: number; living: number }
}
