/** Turns the change feed on and off by creating and dropping its triggers. */
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { resources } from '../../resources/index.ts'
import { isLockTimeout } from '../errors.ts'
import { MIGRATION_LOCK, SchemaError, withClient } from '../migrate.ts'
import { REVOKE } from '../rights.ts'
import { DEFAULT_SCHEMA, plain } from '../schema-name.ts'
import { findRebase } from './rebase.ts'
import { type FeedTriggers, feedTriggers, TRIGGERS } from './trigger-sql.ts'

export interface KeepChangesOptions {
  /** The schema of the tables; `clerk` by default. */
  schema?: string
  isEnabled: boolean
}

const ATTEMPTS = 10
// Waiting for a table lock blocks all later writers, so the wait is short and repeated.
const LOCK_TIMEOUT_MS = 1_000
const RETRY_MS = 500

/**
 * Creates the current triggers of the change feed, or drops them. Repeating it changes nothing, and then needs no more rights than
 * serving does. The tables must be migrated. Resolves to whether anything changed. Rejects with `SchemaError` if a right is missing, otherwise with PostgreSQL's error.
 */
export async function setChangeFeed(connectionString: string, options: KeepChangesOptions): Promise<boolean> {
  const schema = plain(options.schema ?? DEFAULT_SCHEMA)
  const wanted = resources.map((resource) => feedTriggers(schema, resource))
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await withClient(connectionString, (client) => keep(client, schema, wanted, options.isEnabled))
    } catch (error) {
      if (!isLockTimeout(error) || attempt === ATTEMPTS) throw error
      await sleep(RETRY_MS)
    }
  }
}

async function keep(client: pg.Client, schema: string, wanted: FeedTriggers[], isEnabled: boolean): Promise<boolean> {
  /** The statements to run; at almost every start there are none. */
  async function findStatements(): Promise<string[]> {
    const pending = await findPending(client, schema, wanted, isEnabled)
    return [
      ...(isEnabled ? await findRebase(client, schema) : []),
      ...pending.flatMap((triggers) => (isEnabled ? sqlToEnable(schema, triggers) : sqlToDisable(triggers))),
    ]
  }
  if ((await findStatements()).length === 0) return false
  await client.query(
    `begin; set local lock_timeout = ${LOCK_TIMEOUT_MS}; set local idle_in_transaction_session_timeout = 5000`,
  )
  await client.query('select pg_advisory_xact_lock($1)', [MIGRATION_LOCK])
  // Checked again under the lock, because another replica may have done it meanwhile.
  const statements = await findStatements()
  try {
    for (const text of statements) await client.query(text)
  } catch (error) {
    throw explainDenied(error, isEnabled, statements)
  }
  await client.query('commit')
  return true
}

const sqlToEnable = (schema: string, triggers: FeedTriggers): string[] => [
  triggers.createFunction,
  `revoke all on function "${schema}"."${triggers.functionName}"() from public`,
  REVOKE(schema, [], [`${triggers.functionName}()`], false),
  `comment on function "${schema}"."${triggers.functionName}"() is '${triggers.hash}'`,
  ...triggers.dropTriggers,
  ...triggers.createTriggers,
]

const sqlToDisable = ({ dropTriggers, dropFunction }: FeedTriggers): string[] => [...dropTriggers, dropFunction]

const FIND = `select c.relname as table, count(t.oid)::int as triggers,
    (select obj_description(p.oid) from pg_proc p
     where p.pronamespace = c.relnamespace and p.proname = 'changes_of_' || c.relname) as hash
  from pg_class c
  left join pg_trigger t on t.tgrelid = c.oid and t.tgname = any($2) and t.tgenabled <> 'D'
  where c.relnamespace = to_regnamespace($1) and c.relkind = 'r' and c.relname = any($3)
  group by c.oid, c.relname, c.relnamespace`

interface Found {
  table: string
  triggers: number
  hash: string | null
}

/** The tables whose triggers are missing, outdated, or to be dropped. */
async function findPending(client: pg.Client, schema: string, wanted: FeedTriggers[], isEnabled: boolean) {
  const { rows } = await client.query<Found>(FIND, [`"${schema}"`, TRIGGERS, wanted.map(({ table }) => table)])
  const found = new Map(rows.map((row) => [row.table, row]))
  return wanted.filter(({ table, hash }) => {
    const there = found.get(table)
    return isEnabled
      ? there?.triggers !== TRIGGERS.length || there.hash !== hash
      : (there?.triggers ?? 0) > 0 || there?.hash != null
  })
}

// 42501 is insufficient_privilege.
function explainDenied(error: unknown, isEnabled: boolean, statements: string[]): unknown {
  if (!(error instanceof pg.DatabaseError) || error.code !== '42501') return error
  const what = isEnabled
    ? 'CHANGES=true needs triggers that the role of DATABASE_URL may not create'
    : 'CHANGES is off, but the role of DATABASE_URL may not drop the triggers of the change feed'
  return new SchemaError(
    `${what} (${error.message}). Run \`clerk-session-sync migrate${isEnabled ? '' : ' --no-changes'}\` once with a role that owns the tables and ${isEnabled ? 'CHANGES=true' : 'the same settings'}, or let an administrator run:\n${statements.join(';\n')};`,
    { cause: error },
  )
}
