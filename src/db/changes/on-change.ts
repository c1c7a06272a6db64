/** Runs the application's function in the transaction of a change, for example to enqueue a job that is committed with it or not at all. */

import type pg from 'pg'
import type { FeedChange } from '../../domain/feed.ts'
import { sql } from '../drizzle.ts'
import { markTrouble } from '../errors.ts'
import { statement } from '../statement.ts'
import { type EntryRow, entryColumns, toEntry } from './read.ts'
import { changes } from './table.ts'

/** The connection of the transaction, usable only while the function runs. */
export interface ChangeClient {
  query<Row extends pg.QueryResultRow = pg.QueryResultRow>(
    text: string,
    values?: unknown[],
  ): Promise<{ rows: Row[]; rowCount: number | null }>
}

/**
 * Runs in the transaction that wrote these changes, before its commit, for at most 3 s. If it rejects, the transaction is rolled
 * back, and a webhook is answered with an error, so that Svix sends it again. It runs only in processes that are configured with
 * it: not for the command line, and not for other writers of the tables.
 */
export type OnChange = (client: ChangeClient, changes: FeedChange[]) => unknown

/** The function failed or took too long. The transaction was rolled back. */
export class OnChangeError extends Error {
  override name = 'OnChangeError'
  /** Whether one of its queries may still be running. */
  readonly mayBeBusy: boolean

  constructor(message: string, { mayBeBusy = false, cause }: { mayBeBusy?: boolean; cause?: unknown } = {}) {
    super(message, { cause })
    this.mayBeBusy = mayBeBusy
  }
}

const TIMEOUT_MS = 3_000

// Selects by `xmin`: a change's `xid` in the feed may be higher than that of the transaction that wrote it (see trigger-sql.ts).
const selectOwn = statement<EntryRow>(
  'changes_own',
  (t) => sql`select ${entryColumns('c')} from ${t(changes)} c
  where c.xid >= pg_current_xact_id_if_assigned() and c.xmin = pg_current_xact_id_if_assigned()::xid
  order by c.seq`,
)

/**
 * Calls the function with the feed entries that the transaction wrote in this schema, if there are any, and commits.
 * @throws OnChangeError
 */
export async function finishWith(
  client: pg.ClientBase,
  schema: string,
  onChange: OnChange,
  timeoutMs = TIMEOUT_MS,
): Promise<void> {
  // Sent after the other statements, not together with them: a pipelined query would not see their rows.
  const { rows } = await client.query<EntryRow>(selectOwn.prepare(schema).text).catch(markTrouble)
  if (rows.length > 0)
    await run(
      client,
      rows.map((row) => toEntry(row).change),
      onChange,
      timeoutMs,
    )
  const { command } = await client.query('commit').catch(markTrouble)
  // After a failed statement, PostgreSQL answers a commit with ROLLBACK, without an error.
  if (command !== 'COMMIT') throw new OnChangeError('onChange continued after one of its queries had failed')
}

async function run(client: pg.ClientBase, written: FeedChange[], onChange: OnChange, timeoutMs: number): Promise<void> {
  let underWay = 0
  let isOver = false
  const own: ChangeClient = {
    async query(text, values) {
      if (isOver) throw new OnChangeError('the transaction of onChange is over')
      underWay += 1
      try {
        return await client.query(text, values)
      } finally {
        underWay -= 1
      }
    },
  }
  const late = Promise.withResolvers<never>()
  const timer = setTimeout(() => late.reject(new Error(`not done within ${timeoutMs} ms`)), timeoutMs)
  try {
    await Promise.race([Promise.resolve().then(() => onChange(own, written)), late.promise])
    if (underWay > 0) throw new Error('it returned before its queries had ended')
  } catch (cause) {
    throw new OnChangeError(`onChange failed: ${(cause as Error)?.message}`, { cause, mayBeBusy: underWay > 0 })
  } finally {
    isOver = true
    clearTimeout(timer)
  }
}
