/** What the role of the service must be allowed to do, and what nobody else is. */
import type pg from 'pg'

// "anon" and "authenticated" are the roles by which PostgREST (Supabase) answers everybody; default privileges may have given
// them rights on whatever is created.
export const REVOKE = (schema: string, tables: readonly string[], functions: readonly string[]) => `do $$
declare name text; grantee text;
begin
  foreach name in array array[${functions.map((signature) => `'${signature}'`).join(', ')}] loop
    for grantee in select rolname from pg_roles where rolname in ('anon', 'authenticated') loop
      execute format('revoke all on function %I.%s from %I', '${schema}', name, grantee);
    end loop;
    -- Everybody may call a function by default, but reaches it only through the schema.
    if has_schema_privilege('public', '${schema}', 'usage') then
      execute format('revoke all on function %I.%s from public', '${schema}', name);
    end if;
  end loop;
  foreach name in array array[${tables.map((table) => `'${table}'`).join(', ')}] loop
    execute format('revoke all on table %I.%I from public', '${schema}', name);
    for grantee in select rolname from pg_roles where rolname in ('anon', 'authenticated') loop
      execute format('revoke all on table %I.%I from %I', '${schema}', name, grantee);
    end loop;
  end loop;
end $$`

const MISSING = `select current_user as role, has_schema_privilege(n.oid, 'usage') as may_use,
    array(select c.relname::text from pg_class c
      where c.relnamespace = n.oid and c.relkind = 'r' and c.relname = any($2)
        and not (has_table_privilege(c.oid, 'select') and has_table_privilege(c.oid, 'insert')
          and has_table_privilege(c.oid, 'update') and has_table_privilege(c.oid, 'delete'))
      order by 1) as tables
  from pg_namespace n where n.nspname = $1`

/** The SQL that an administrator has to run so that the role may serve; none when it may. */
export async function findMissingRights(
  client: pg.Client,
  schema: string,
  tables: readonly string[],
): Promise<string[]> {
  const { rows } = await client.query(MISSING, [schema, tables])
  const { role, may_use: mayUse, tables: denied } = rows[0] as { role: string; may_use: boolean; tables: string[] }
  const names = denied.map((table) => `"${schema}"."${table}"`).join(', ')
  return [
    ...(mayUse ? [] : [`grant usage on schema "${schema}" to "${role}"`]),
    ...(denied.length === 0 ? [] : [`grant select, insert, update, delete on ${names} to "${role}"`]),
  ]
}
