import { type SQL, sql } from 'drizzle-orm'
import { type PgColumn, PgDialect } from 'drizzle-orm/pg-core'
import { statementTracing } from './channels.ts'

/** What a statement runs on: a pool, or the client of somebody's transaction. */
export interface Executor {
  query(config: { name: string; text: string; values: unknown[] }): Promise<{ rows: unknown[] }>
}

/** A setting that is on in our transactions alone. */
export const BEGIN_SETTING = 'clerk_session_sync.in_transaction'

/**
 * True in our transactions alone. Statements are sent together with the `begin`: should it fail alone, none that looks here
 * does anything.
 */
export const IN_TRANSACTION = sql.raw(`current_setting('${BEGIN_SETTING}', true) = 'on'`)

const dialect = new PgDialect()

/**
 * A prepared statement of fixed shape: compiled once here, parsed and planned once a connection by PostgreSQL. Its
 * parameters are written `$(1)`, `$(2)`…, and given in this order.
 */
export function statement<Row>(name: string, query: SQL) {
  const { sql: text, params } = dialect.sqlToQuery(query)
  if (params.length > 0) throw new TypeError(`${name}: write parameters as $1, $2…`)
  return async (executor: Executor, ...values: unknown[]): Promise<Row[]> => {
    const { rows } = await statementTracing.tracePromise(executor.query, { name, text }, executor, {
      name,
      text,
      values,
    })
    return rows as Row[]
  }
}

/** Parameter `n` of a statement. */
export const $ = (n: number): SQL => sql.raw(`$${n}`)

/** A column's bare name, for the places where SQL allows no table before it. */
export const bare = (column: PgColumn): SQL => sql`${sql.identifier(column.name)}`

/** The column of the row that an upsert proposes. */
export const excluded = (column: PgColumn): SQL => sql`excluded.${sql.identifier(column.name)}`

/** Fragments with commas between them. */
export const list = (fragments: SQL[]): SQL => sql.join(fragments, sql`, `)
