/**
 * The write logic of resources whose rows are versioned snapshots that end as a tombstone. The guards: a snapshot is written if its
 * version is at least the row's; only an earlier deletion replaces the tombstone of a webhook; and a state that Clerk reported
 * after an inferred deletion replaces its tombstone.
 */

import type { Change, States } from '../domain/change.ts'
import type { EventReader } from '../domain/payload.ts'
import { newestById } from '../domain/version.ts'
import { takesPrecedence, type Versioned } from '../domain/versioned.ts'
import { getTableColumns, type PgColumn, type PgTable, type SQL, sql } from './drizzle.ts'
import type { InFeed, Resource, Writing } from './resource.ts'
import { $, type Call, type Qualify, sqlTimeOf, statement } from './statement.ts'
import { time } from './table.ts'

/** The version columns of every such table. */
export const versionColumns = () => ({
  clerkCreatedAt: time('clerk_created_at'),
  /** The version: Clerk's `updated_at`; in a tombstone, the time of the deletion. */
  clerkUpdatedAt: time('clerk_updated_at').notNull(),
  /** Orders equal versions: the timestamp of the event's envelope; null for the Backend API and for parts of other objects. */
  clerkEventAt: time('clerk_event_at'),
  /** When Clerk last reported that it exists, to compare with the time of an inferred deletion. */
  clerkHeardAt: time('clerk_heard_at'),
})

export interface VersionedTable {
  id: PgColumn
  clerkCreatedAt: PgColumn
  clerkUpdatedAt: PgColumn
  clerkEventAt: PgColumn
  clerkHeardAt: PgColumn
  syncSource: PgColumn
  createdAt: PgColumn
  updatedAt: PgColumn
  deletedAt: PgColumn
}

export interface VersionedOptions<Name extends keyof States> {
  name: Name
  table: PgTable & VersionedTable
  events: Readonly<Record<string, EventReader>>
  locksOf?: (change: Change) => string[]
  endedBy?: Resource['endedBy']
  inFeed: InFeed
  /** Joins of the input `i` to other tables, and the columns that are computed from them. */
  derived?: { from: (t: Qualify) => SQL; columns: Record<string, SQL> }
  /** An expression that orders rows of one id, before the version. */
  rank?: (row: 'r' | 'excluded') => string
  /** Statements that end rows because of other changes, before new ones are written. */
  endings?: (changes: readonly Change[]) => Call[]
}

const DATES = ['clerk_created_at', 'clerk_updated_at', 'clerk_event_at', 'clerk_heard_at', 'deleted_at']

/** Makes the resource. Its statement has at most one state per id, ordered by id, so that two transactions never deadlock. */
export function versionedResource<Name extends keyof States>(options: VersionedOptions<Name>): Resource<Versioned> {
  const { name, table, derived, endings } = options
  const columns = getTableColumns(table)
  const upsert = statement<{ id: string }>(`${name}_upsert`, (t) => upsertSql(options, t))

  const toRow = ({ id, source, version, heardAt, createdAt, deletedAt, data }: Versioned) => ({
    id,
    sync_source: source,
    clerk_created_at: createdAt,
    clerk_updated_at: version.updatedAt,
    clerk_event_at: version.eventAt,
    clerk_heard_at: heardAt,
    deleted_at: deletedAt,
    ...Object.fromEntries(Object.entries(data).map(([key, value]) => [(columns[key] as PgColumn).name, value])),
  })

  function write(changes: readonly Change[]): Writing {
    const states = changes.flatMap((change) => (change[name] as Versioned | undefined) ?? [])
    const winners = newestById(states, takesPrecedence)
    const call = winners.length > 0 ? upsert.call(JSON.stringify(winners.map(toRow))) : undefined
    return {
      calls: [...(endings?.(changes) ?? []), ...(call ? [call as Call] : [])],
      written() {
        const ids = new Set(call?.rows.map(({ id }) => id))
        const written = winners.filter(({ id }) => ids.has(id))
        // A state equal to the written one counts as written too.
        const asGood = written.flatMap((winner) =>
          states.filter((state) => state.id === winner.id && !takesPrecedence(winner, state)),
        )
        return new Map([...written, ...asGood].map((state) => [state, { created: false }]))
      },
    }
  }

  const input = (column: string) => `${name}_${column}`
  return {
    name,
    table,
    events: options.events,
    ...(options.locksOf && { locksOf: options.locksOf }),
    ...(options.endedBy && { endedBy: options.endedBy }),
    write,
    inFeed: options.inFeed,
    inLedger: {
      columns: {
        [input('id')]: 'text',
        [input('at')]: 'float8',
        [input('event_at')]: 'float8',
        [input('deleted')]: 'boolean',
      },
      // A message is about its own object, not about embedded parts of other objects.
      input: ({ id, version, heardAt, deletedAt }) =>
        heardAt === null
          ? {}
          : {
              [input('id')]: id,
              [input('at')]: version.updatedAt,
              [input('event_at')]: version.eventAt,
              [input('deleted')]: deletedAt !== null,
            },
      isCurrent: (t) => sql`(select r.clerk_updated_at = ${sqlTimeOf(input('at'))}
    and r.clerk_event_at is not distinct from ${sqlTimeOf(input('event_at'))}
    and (r.deleted_at is not null) = ${sql.raw(`i.${input('deleted')}`)}
    from ${t(table)} r where r.id = ${sql.raw(`i.${input('id')}`)})`,
      isSuperseded: (t) => sql`exists (select 1 from ${t(table)} r where r.id = e.object_id
    and greatest(r.clerk_updated_at, r.clerk_event_at) > e.event_at)`,
    },
  }

  function upsertSql({ rank }: VersionedOptions<Name>, t: Qualify): SQL {
    const names = Object.values(columns).map((column) => column.name)
    const written = names.filter((name) => name !== 'created_at' && name !== 'updated_at')
    const said = written.filter((name) => !['id', 'sync_source', ...DATES].includes(name))
    const computed = derived?.columns ?? {}
    const types = new Map(Object.values(columns).map((column) => [column.name, column.getSQLType()]))
    const typeOf = (name: string) => (DATES.includes(name) ? 'float8' : types.get(name))
    const inputOf = (name: string) =>
      computed[name] ?? sql.raw(DATES.includes(name) ? `to_timestamp(i.${name} / 1000)` : `i.${name}`)
    const join = (each: (name: string) => string, of = written) => sql.raw(of.map(each).join(', '))
    const saysMore = sql`(${join((name) => `r.${name}`, [...said, 'deleted_at'])}) is distinct from
      (${join((name) => `excluded.${name}`, [...said, 'deleted_at'])})`
    const versionOf = (row: 'r' | 'excluded') =>
      sql.raw(`(${rank ? `${rank(row)}, ` : ''}${row}.clerk_updated_at, coalesce(${row}.clerk_event_at, '-infinity'))`)
    return sql`insert into ${t(table)} as r (${join((name) => name)})
  select ${sql.join(written.map(inputOf), sql`, `)}
  from json_to_recordset(${$(1)}::json) as i(${join((name) => `${name} ${typeOf(name)}`)})
  ${derived?.from(t) ?? sql``}
  order by i.id
  on conflict (id) do update set
    ${join(
      (name) =>
        `${name} = ${name === 'clerk_heard_at' ? 'greatest(r.clerk_heard_at, excluded.clerk_heard_at)' : `excluded.${name}`}`,
      written.filter((name) => name !== 'id'),
    )},
    updated_at = case when ${saysMore} then now() else r.updated_at end
  where case
    when r.deleted_at is not null and r.sync_source <> 'clerk_api'
      then excluded.sync_source <> 'clerk_api' and excluded.deleted_at < r.deleted_at
    when excluded.deleted_at is not null and excluded.sync_source <> 'clerk_api' then true
    when excluded.deleted_at is not null
      then r.deleted_at is null and excluded.deleted_at > coalesce(r.clerk_heard_at, '-infinity')
    when r.deleted_at is not null then excluded.clerk_heard_at > r.deleted_at
    else ${versionOf('excluded')} >= ${versionOf('r')}
      and (excluded.sync_source <> 'clerk_api' or ${versionOf('excluded')} > ${versionOf('r')} or ${saysMore}) end
  returning r.id`
  }
}
