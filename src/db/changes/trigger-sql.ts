/**
 * The triggers that write the change feed for any writer of the tables. They run per statement, because row triggers cost more if
 * a statement has many rows (bench/README.md).
 */
import { createHash } from 'node:crypto'
import { getTableName } from '../drizzle.ts'
import type { Resource } from '../resource.ts'

/** The `NOTIFY` channel that announces new changes; its payload is the schema. */
export const WAKE_UP_CHANNEL = 'clerk_session_sync_changes'

/**
 * The transaction setting with the cause of its row changes: a cause, or `silent`, or causes by id as JSON with the default under
 * an empty name. Other writers do not set it, so the cause of their changes is null.
 */
export const CAUSE_SETTING = 'clerk_session_sync.cause'

/** Keeps the changes of a transaction out of the feed. */
export const SILENT = 'silent'

export const TRIGGERS = ['changes_insert', 'changes_update', 'changes_delete', 'changes_truncate'] as const

export interface FeedTriggers {
  table: string
  functionName: string
  /** The function's definition; safe to repeat. */
  createFunction: string
  /** Stored as the function's comment, to detect whether the installed function is current. */
  hash: string
  createTriggers: string[]
  dropTriggers: string[]
  dropFunction: string
}

/** The SQL of the triggers on a resource's table in this (plain) schema. */
export function feedTriggers(schema: string, resource: Pick<Resource, 'table' | 'inFeed'>): FeedTriggers {
  const table = getTableName(resource.table)
  const target = `"${schema}"."${table}"`
  const functionName = `changes_of_${table}`
  const call = `execute function "${schema}"."${functionName}"()`
  const createFunction = functionOf(schema, table, resource.inFeed, functionName)
  const createTriggers = [
    `create trigger changes_insert after insert on ${target} referencing new table as new_rows for each statement ${call}`,
    `create trigger changes_update after update on ${target} referencing old table as old_rows new table as new_rows for each statement ${call}`,
    `create trigger changes_delete after delete on ${target} referencing old table as old_rows for each statement ${call}`,
    `create trigger changes_truncate before truncate on ${target} for each statement ${call}`,
  ]
  return {
    table,
    functionName,
    createFunction,
    hash: createHash('sha256')
      .update([createFunction, ...createTriggers].join(';'))
      .digest('hex')
      .slice(0, 16),
    createTriggers,
    dropTriggers: TRIGGERS.map((name) => `drop trigger if exists ${name} on ${target}`),
    dropFunction: `drop function if exists "${schema}"."${functionName}"()`,
  }
}

// A transaction may write a row that one with a higher id has written and committed before, and its change must come later in the
// feed. So a change gets the highest id of a transaction that has ended, or its own id if that is higher. No reader is past it,
// because readers stop before the oldest running transaction, which is this one or an older one.
const ORDER = `select greatest(pg_current_xact_id(), (pg_snapshot_xmax(pg_current_snapshot())::text::bigint - 1)::text::xid8)`

// `security definer`, because writers of the tables need no right to write to the feed; so it has a fixed search_path and no
// rights for others. A full join, because a row whose id was changed is another object.
function functionOf(
  schema: string,
  table: string,
  { entity, visible, isThere, owners = [] }: Resource['inFeed'],
  name: string,
): string {
  const there = (row: 'o' | 'n') => `coalesce(${isThere(row)}, false)`
  const list = (row: 'o' | 'n') => visible.map((column) => `${row}."${column.name}"`).join(', ')
  const changed = visible
    .map(({ name }) => `case when o."${name}" is distinct from n."${name}" then '${name}' end`)
    .join(',\n        ')
  const causeOf = (row: string) =>
    ['id', ...owners.map((column) => column.name)].map((column) => `causes->>${row}."${column}", `).join('')
  const insert = (columns: string, values: string, from: string) =>
    `insert into "${schema}".changes (xid, entity, entity_id, op, cause${columns})\n    select (${ORDER}), '${entity}', ${values}\n    from ${from};`
  const once = (op: string, row: 'o' | 'n', from: string) =>
    insert('', `${row}.id, '${op}', coalesce(${causeOf(row)}cause)`, `${from} ${row} where ${there(row)}`)

  return `create or replace function "${schema}"."${name}"() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $changes$
declare
  cause text := nullif(current_setting('${CAUSE_SETTING}', true), '');
  causes jsonb;
begin
  if cause = '${SILENT}' then
    return null;
  end if;
  if left(cause, 1) = '{' then
    causes := cause::jsonb;
    cause := causes->>'';
  end if;
  if tg_op = 'INSERT' then
    ${once('created', 'n', 'new_rows')}
  elsif tg_op = 'UPDATE' then
    ${insert(
      ', changed',
      `coalesce(n.id, o.id),
      case when n.id is null or not ${there('n')} then 'deleted' when o.id is null or not ${there('o')} then 'created' else 'updated' end,
      coalesce(${causeOf('n')}${causeOf('o')}cause),
      case when o.id is null or n.id is null or not ${there('o')} or not ${there('n')} then '{}' else array_remove(array[
        ${changed}], null) end`,
      `old_rows o full join new_rows n on n.id = o.id
    where case when o.id is not null and n.id is not null and ${there('o')} and ${there('n')}
      then (${list('o')}) is distinct from (${list('n')})
      else (o.id is not null and ${there('o')}) <> (n.id is not null and ${there('n')}) end`,
    )}
  elsif tg_op = 'DELETE' then
    ${once('deleted', 'o', 'old_rows')}
  else
    ${once('deleted', 'o', `"${schema}"."${table}"`)}
  end if;
  if found then
    perform pg_notify('${WAKE_UP_CHANNEL}', '${schema}');
  end if;
  return null;
end
$changes$`
}
