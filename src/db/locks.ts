import { sql } from './drizzle.ts'
import { $, statement } from './statement.ts'

/** Locks objects that may have no row, until the transaction ends; always in the same order, to avoid deadlocks. */
export const lockObjects = statement(
  'locks',
  (t) => sql`select pg_advisory_xact_lock(hashtext(${t.schema}), h)
  from (select distinct hashtext(key) as h from unnest(${$(1)}::text[]) as key order by h) keys`,
)
