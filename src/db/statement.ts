/** Prepared statements with fixed text, which names the tables with their schema. */
import { createHash } from 'node:crypto'
import { getTableName, PgDialect, type PgTable, type SQL, sql } from './drizzle.ts'
import { plain } from './schema-name.ts'

/** What a statement runs on: the pool, or the client of a transaction, and the schema of the tables. */
export interface Executor {
  readonly schema: string
  query(prepared: Prepared): Promise<{ rows: unknown[] }>
}

/** A statement in the form that `pg` accepts. */
export interface Prepared {
  name: string
  /** Its name in traces. */
  label?: string
  text: string
  values: unknown[]
}

/** One use of a statement within a transaction. `rows` are filled after the commit. */
export interface Call<Row = unknown> {
  readonly statement: Pick<Statement<never>, 'statementName' | 'prepare'>
  readonly values: unknown[]
  rows: Row[]
}

export interface Statement<Row> {
  /** Runs the statement alone. */
  (executor: Executor, ...values: unknown[]): Promise<Row[]>
  readonly statementName: string
  /** Makes a call to run together with others: see `Pool.transact`. */
  call(...values: unknown[]): Call<Row>
  /** The final SQL for this schema, which can be pasted into psql. */
  prepare(schema: string): { name: string; text: string }
}

/** Names a table with its schema, so that statements do not depend on `search_path`. */
export interface Qualify {
  (table: PgTable): SQL
  /** The schema as a text literal, for the keys of advisory locks. */
  readonly schema: SQL
}

const dialect = new PgDialect()

/** All statements of the service, for the snapshot test of their text. */
export const statements: Statement<never>[] = []

/**
 * Makes a prepared statement. Its text is compiled once per schema, and PostgreSQL parses and plans it once per connection.
 * Parameters are written `$(1)`, `$(2)`…, and passed in this order.
 */
export function statement<Row>(statementName: string, build: (t: Qualify) => SQL): Statement<Row> {
  const prepared = new Map<string, { name: string; text: string }>()
  function prepare(schema: string) {
    const known = prepared.get(schema)
    if (known) return known
    const made = compile(statementName, build, schema)
    prepared.set(schema, made)
    return made
  }
  const made: Statement<Row> = Object.assign(
    (executor: Executor, ...values: unknown[]) => runCall(executor, made.call(...values)),
    { statementName, prepare, call: (...values: unknown[]): Call<Row> => ({ statement: made, values, rows: [] }) },
  )
  statements.push(made as Statement<never>)
  return made
}

/** Runs a call alone. Fills and returns its rows. */
export async function runCall<Row>(executor: Executor, call: Call<Row>): Promise<Row[]> {
  const { statementName: label, prepare } = call.statement
  const { rows } = await executor.query({ ...prepare(executor.schema), label, values: call.values })
  call.rows = rows as Row[]
  return call.rows
}

function compile(statementName: string, build: (t: Qualify) => SQL, schema: string) {
  const inSchema = sql`${sql.identifier(plain(schema))}`
  const qualify: Qualify = Object.assign((table: PgTable) => sql`${inSchema}.${sql.identifier(getTableName(table))}`, {
    schema: sql.raw(`'${schema}'`),
  })
  const { sql: text, params } = dialect.sqlToQuery(build(qualify))
  if (params.length > 0) throw new TypeError(`${statementName}: write parameters as $1, $2…`)
  // The name contains a hash of the text: on a pooled connection where the name is already prepared, it is the same statement.
  const hash = createHash('sha256').update(text).digest('hex').slice(0, 12)
  return { name: `${statementName}_${hash}`, text }
}

/** Parameter `n` of a statement. */
export const $ = (n: number): SQL => sql.raw(`$${n}`)

/** A time as milliseconds since 1970, because its text would depend on the connection's `DateStyle`. */
export const milliseconds = (time: SQL): SQL => sql`(extract(epoch from ${time}) * 1000)::float8`

/** The time that the input row `i` holds in milliseconds. */
export const sqlTimeOf = (name: string): SQL => sql.raw(`to_timestamp(i.${name} / 1000)`)
