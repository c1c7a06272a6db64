/** Finds rows that other transactions have locked. */

import type { Change } from '../domain/change.ts'
import { resources } from '../resources/index.ts'
import { type PgTable, sql } from './drizzle.ts'
import { webhookEvents } from './schema.ts'
import { $, type Executor, statement } from './statement.ts'

/** Locks each of these rows that is free, like a writer would, for the duration of the statement. */
const lockedIn = (name: string, table: PgTable) =>
  statement<{ id: string }>(
    `${name}_locked`,
    (t) => sql`with free as (select id from ${t(table)} where id = any(${$(1)}::text[]) for no key update skip locked)
  select id from ${t(table)} where id = any(${$(1)}::text[]) and id not in (select id from free)`,
  )

const probes = [
  { find: lockedIn('webhook_events', webhookEvents), idOf: ({ message }: Change) => message?.id },
  ...resources.map(({ name, table }) => ({
    find: lockedIn(name, table),
    idOf: (change: Change) => (change[name] as { id: string } | undefined)?.id,
  })),
]

/** The changes whose row is locked. Rows that are being inserted are not visible. */
export async function findLocked(executor: Executor, changes: readonly Change[]): Promise<ReadonlySet<Change>> {
  const found = new Set<Change>()
  for (const { find, idOf } of probes) {
    const ids = changes.flatMap((change) => idOf(change) ?? [])
    const locked = new Set((await find(executor, ids)).map(({ id }) => id))
    for (const change of changes) if (locked.has(idOf(change) ?? '')) found.add(change)
  }
  return found
}
