/** Counts and lists users by creation time, for a catch-up. */
import { sql } from '../../db/drizzle.ts'
import { $, type Executor, milliseconds, type Qualify, statement } from '../../db/statement.ts'
import { users } from './table.ts'

/** A range of creation time in milliseconds since 1970, `from` included and `before` not. */
export interface CreationRange {
  from: number
  before: number
}

const time = (n: number) => sql`to_timestamp(${$(n)}::float8 / 1000)`
const living = (t: Qualify) => sql`${t(users)} where deleted_at is null`
const within = sql`clerk_created_at >= ${time(1)} and clerk_created_at < ${time(2)}`

const newest = statement<{ at: number | null }>(
  'users_newest_version',
  (t) => sql`select ${milliseconds(sql`max(clerk_updated_at)`)} as at from ${t(users)}`,
)

/** The newest version of any row; undefined if there is none. */
export async function findNewestVersion(executor: Executor): Promise<number | undefined> {
  const [row] = (await newest(executor)) as [{ at: number | null }]
  return row.at ?? undefined
}

// The median by its position in the index, because `percentile_disc` would sort all rows.
const count = statement<{ count: number; median: number | null }>(
  'users_created_count',
  (t) => sql`select c.count, ${milliseconds(sql`(select clerk_created_at from ${living(t)} and ${within}
    order by clerk_created_at offset c.count / 2 limit 1)`)} as median
  from (select count(*)::int as count from ${living(t)} and ${within}) c`,
)
const countBefore = statement<{ count: number }>(
  'users_created_before_count',
  (t) => sql`select (select count(*) from ${living(t)} and clerk_created_at < ${time(1)})::int
    + (select count(*) from ${living(t)} and clerk_created_at is null and created_at < ${time(1)})::int as count`,
)

/** The number of living users created before this time; if Clerk's creation time is unknown, the row's counts. */
export async function countCreatedBefore(executor: Executor, before: number): Promise<number> {
  const [row] = (await countBefore(executor, before)) as [{ count: number }]
  return row.count
}

/** The number of living users created within a range, and the creation time of the median one. */
export async function countCreated(
  executor: Executor,
  { from, before }: CreationRange,
): Promise<{ count: number; median: number | undefined }> {
  const [row] = (await count(executor, from, before)) as [{ count: number; median: number | null }]
  return { count: row.count, median: row.median ?? undefined }
}

const ids = statement<{ id: string }>(
  'users_created_ids',
  (t) => sql`select id from ${living(t)} and ${within} order by id limit ${$(3)}::int`,
)

/** The ids of living users created within a range, at most `limit`. */
export async function findCreatedIds(
  executor: Executor,
  { from, before }: CreationRange,
  limit: number,
): Promise<string[]> {
  return (await ids(executor, from, before, limit)).map(({ id }) => id)
}

const undated = statement<{ id: string }>(
  'users_undated_ids',
  (t) =>
    sql`select id from ${living(t)} and clerk_created_at is null and created_at < ${time(1)} order by id limit ${$(2)}::int`,
)

/** The ids of living users known only from claims, so that their creation time is unknown; at most `limit`. */
export async function findUndatedIds(executor: Executor, before: number, limit: number): Promise<string[]> {
  return (await undated(executor, before, limit)).map(({ id }) => id)
}
