/** The rights that the service's role needs, and those that public roles lose. */
import type pg from 'pg'

// PostgREST (Supabase) serves the public as the roles "anon" and "authenticated", which may have default privileges on new
// tables.
export const REVOKE = (
  schema: string,
  tables: readonly string[],
  functions: readonly string[],
  isNewSchema: boolean,
) => `do $$
declare object record; grantee text; signature text;
begin
  for grantee in select 'public' union all
    select quote_ident(rolname) from pg_roles where rolname in ('anon', 'authenticated')
  loop
    -- Everybody may call a function by default, but reaches it only through the schema.
    if grantee <> 'public' or has_schema_privilege('public', '${schema}', 'usage') then
      foreach signature in array ${array(functions)} loop
        execute format('revoke all on function %I.%s from %s', '${schema}', signature, grantee);
      end loop;
    end if;
    for object in select c.oid::regclass as name, c.relkind from pg_class c
      where c.oid in (select format('%I.%I', '${schema}', t)::regclass from unnest(${array(tables)}) t)
        or (c.relkind = 'S' and c.oid in (select d.objid from pg_depend d
          where d.refobjid in (select format('%I.%I', '${schema}', t)::regclass from unnest(${array(tables)}) t)))
    loop
      execute format('revoke all on %s %s from %s', case object.relkind when 'S' then 'sequence' else 'table' end,
        object.name, grantee);
    end loop;
    ${isNewSchema ? `execute format('revoke all on schema %I from %s', '${schema}', grantee);` : ''}
  end loop;
end $$`

const array = (tables: readonly string[]) => `array[${tables.map((table) => `'${table}'`).join(', ')}]::text[]`

const ROLE = `select quote_ident(current_user) as role, has_database_privilege(current_database(), 'create') as may_create_schema,
    n.oid is not null as has_schema, has_schema_privilege(n.oid, 'usage') as may_use,
    has_schema_privilege(n.oid, 'create') as may_create
  from (select 1) one left join pg_namespace n on n.nspname = $1`

const OF_TABLES = `select relname as name, pg_has_role(relowner, 'usage') as is_owner,
    has_table_privilege(c.oid, 'select') and has_table_privilege(c.oid, 'insert')
      and has_table_privilege(c.oid, 'update') and has_table_privilege(c.oid, 'delete') as may_write,
    has_table_privilege(c.oid, 'select') as may_read
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where n.nspname = $1 and c.relkind in ('r', 'v') and c.relname = any($2) order by 1`

const FOREIGN_FUNCTIONS = `select p.oid::regprocedure as signature
  from pg_proc p join pg_namespace n on n.oid = p.pronamespace
  where n.nspname = $1 and p.proname in (select split_part(s, '(', 1) from unnest($2::text[]) s) and not pg_has_role(proowner, 'usage')
  order by 1`

interface Role {
  role: string
  may_create_schema: boolean
  has_schema: boolean
  may_use: boolean | null
  may_create: boolean | null
}

interface TableRights {
  name: string
  is_owner: boolean
  may_write: boolean
  may_read: boolean
}

export interface NeededRights {
  /** Tables that are read and written. */
  tables: readonly string[]
  /** The signatures of functions, which a migration may replace or move. */
  functions?: readonly string[]
  /** Tables that are only read. */
  readOnly?: readonly string[]
  /** Whether tables will be created and altered. */
  isMigrating: boolean
}

/** The SQL with which an administrator grants the missing rights; none if the role has all. */
export async function findMissingRights(client: pg.Client, schema: string, needed: NeededRights): Promise<string[]> {
  const { tables, functions = [], readOnly = [], isMigrating } = needed
  const { role, ...own } = (await client.query(ROLE, [schema])).rows[0] as Role
  const { rows } = await client.query<TableRights>(OF_TABLES, [schema, [...tables, ...readOnly]])
  const named = (found: TableRights[]) => found.map(({ name }) => `"${schema}"."${name}"`)
  const sql: string[] = []
  if (isMigrating) {
    if (!own.has_schema && !own.may_create_schema) sql.push(`create schema "${schema}"`)
    const isDenied = own.has_schema ? !(own.may_use && own.may_create) : !own.may_create_schema
    if (isDenied) sql.push(`grant usage, create on schema "${schema}" to ${role}`)
    for (const table of named(rows.filter(({ is_owner }) => !is_owner)))
      sql.push(`alter table ${table} owner to ${role}`)
    const foreign = (await client.query(FOREIGN_FUNCTIONS, [schema, functions])).rows
    for (const { signature } of foreign) sql.push(`alter function ${signature} owner to ${role}`)
    return sql
  }
  if (!own.may_use) sql.push(`grant usage on schema "${schema}" to ${role}`)
  const unread = named(rows.filter(({ name, may_read }) => readOnly.includes(name) && !may_read))
  if (unread.length > 0) sql.push(`grant select on ${unread.join(', ')} to ${role}`)
  const unwritten = named(rows.filter(({ name, may_write }) => tables.includes(name) && !may_write))
  if (unwritten.length > 0) sql.push(`grant select, insert, update, delete on ${unwritten.join(', ')} to ${role}`)
  return sql
}
