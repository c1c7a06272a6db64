/** The reads of a reconcile: how the rows of `users` differ from what Clerk says. */
import { type SQL, sql } from 'drizzle-orm'
import type { ComparedRow, Difference } from '../domain/drift.ts'
import type { UserSnapshot } from '../domain/user.ts'
import type { Version } from '../domain/version.ts'
import { users } from './schema.ts'
import { $, bare, type Executor, list, statement } from './statement.ts'
import { fromInput, inputOf, profileColumns, toRow } from './users.ts'

interface CompareRow {
  id: string
  difference: Difference
  updated_at: number | null
  event_at: number | null
}

const COMPARED = [...profileColumns, users.banned]
const INPUT = [users.id, users.clerkUpdatedAt, ...COMPARED]
const isDifferent: SQL = sql`(${list(COMPARED.map((column) => sql`u.${bare(column)}`))})
  is distinct from (${list(COMPARED.map(fromInput))})`

const compare = statement<CompareRow>(
  'users_compare',
  sql`select i.id, (extract(epoch from u.clerk_updated_at) * 1000)::float8 as updated_at,
    (extract(epoch from u.clerk_event_at) * 1000)::float8 as event_at,
    case when u.id is null then 'missing'
      when u.deleted_at is not null then 'deleted'
      when u.clerk_updated_at is null or u.clerk_updated_at < ${fromInput(users.clerkUpdatedAt)} then 'stale'
      when u.clerk_updated_at > ${fromInput(users.clerkUpdatedAt)} then 'newer'
      when ${isDifferent} then 'different'
      else 'same' end as difference
  from json_to_recordset(${$(1)}::json) as i(${inputOf(INPUT)})
  left join ${users} u on u.id = i.id`,
)

/** Compares each of these users with its row, as it is now. */
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
  sql`select id, (extract(epoch from clerk_updated_at) * 1000)::float8 as updated_at,
    (extract(epoch from clerk_event_at) * 1000)::float8 as event_at
  from ${users} where id = any(${$(1)}::text[]) and deleted_at is null`,
)

/** Of these users those who are not deleted here, with the versions of their rows. */
export async function findLiving(executor: Executor, ids: readonly string[]): Promise<Map<string, Version | null>> {
  const rows = await living(executor, ids)
  return new Map(
    rows.map(({ id, updated_at, event_at }) => [
      id,
      updated_at === null ? null : { updatedAt: updated_at, eventAt: event_at },
    ]),
  )
}

// Of the session, so that it is gone with the connection. On disk, so that no process has to hold a million ids.
const createSeen = statement('seen_create', sql`create temporary table seen (id text primary key)`)
const insertSeen = statement('seen_insert', sql`insert into seen select unnest(${$(1)}::text[]) on conflict do nothing`)
const selectUnseen = statement<{ id: string; is_seen: boolean }>(
  'users_unseen',
  sql`select u.id, seen.id is not null as is_seen from (
    select id from ${users}
    where id > ${$(1)} and deleted_at is null and created_at <= to_timestamp(${$(2)}::float8 / 1000)
    order by id limit ${$(3)}::int) u
  left join seen on seen.id = u.id order by u.id`,
)

const UNSEEN_BATCH = 5_000

/** Remembers ids that were seen at Clerk. One connection, from beginning to end. */
export async function createSeenIds(executor: Executor) {
  await createSeen(executor)
  return {
    async add(ids: readonly string[]): Promise<void> {
      await insertSeen(executor, ids)
    },
    /** Batches of the ids of living users whose rows were there at `atMs` and which were never seen. */
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
  sql`select (extract(epoch from date_trunc('milliseconds', now())) * 1000)::float8 as now,
    (select count(*)::int from ${users} where deleted_at is null) as living`,
)

/** PostgreSQL's clock, and how many users are not deleted. */
export async function measureUsers(executor: Executor): Promise<{ now: number; living: number }> {
  return (await measure(executor))[0] as { now: number; living: number }
}
