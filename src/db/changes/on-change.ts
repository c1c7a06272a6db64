/** The application's function within the transaction of a change, as to enqueue a job: either both are committed or neither. */
import { sql } from 'drizzle-orm'
import type pg from 'pg'
import type { FeedChange } from '../../domain/feed.ts'
import { markTrouble } from '../errors.ts'
import { statement } from '../statement.ts'
import { type EntryRow, entryColumns, toEntry } from './read.ts'
import { changes } from './table.ts'

/** The connection of the transaction, as long as the function runs. */
export interface ChangeClient {
  query<Row extends pg.QueryResultRow = pg.QueryResultRow>(
    text: string,
    values?: unknown[],
  ): Promise<{ rows: Row[]; rowCount: number | null }>
}

/**
 * Runs in the transaction that wrote these changes, before its commit; 3 s at most. What it rejects with undoes the change, and
 * the webhook is answered with an error, so that it comes again. It runs in processes that are given it: not for commands,
 * and not for others who write to the tables.
 */
export type OnChange = (client: ChangeClient, changes: FeedChange[]) => unknown

/** The function failed, or took too long. The transaction was undone. */
export class OnChangeError extends Error {
  override name = 'OnChangeError'
  /** Whether a query of its may still be under way. */
  readonly mayBeBusy: boolean

  constructor(message: string, { mayBeBusy = false, cause }: { mayBeBusy?: boolean; cause?: unknown } = {}) {
    super(message, { cause })
    this.mayBeBusy = mayBeBusy
  }
}

const TIMEOUT_MS = 3_000

// The order of the feed may put a change behind its transaction (see trigger-sql.ts); who wrote it, PostgreSQL knows.
const selectOwn = statement<EntryRow>(
  'changes_own',
  (t) => sql`select ${entryColumns('c')} from ${t(changes)} c
  where c.xid >= pg_current_xact_id_if_assigned() and c.xmin = pg_current_xact_id_if_assigned()::xid
  order by c.seq`,
)

/**
 * Calls the function with what the transaction has told in this schema, if that is anything, and commits.
 * @throws OnChangeError
 */
export async function finishWith(
  client: pg.ClientBase,
  schema: string,
  onChange: OnChange,
  timeoutMs = TIMEOUT_MS,
): Promise<void> {
  // Not along with the statements before: a query sees what was there when it was bound, which is before any is executed.
  const { rows } = await client.query<EntryRow>(selectOwn.prepare(schema).text).catch(markTrouble)
  if (rows.length > 0)
    await run(
      client,
      rows.map((row) => toEntry(row).change),
      onChange,
      timeoutMs,
    )
  const { command } = await client.query('commit').catch(markTrouble)
  // Of a transaction in which a statement has failed, PostgreSQL makes a rollback without saying more.
  if (command !== 'COMMIT') throw new OnChangeError('onChange went on after a query of its had failed')
}

async function run(client: pg.ClientBase, told: FeedChange[], onChange: OnChange, timeoutMs: number): Promise<void> {
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
    await Promise.race([Promise.resolve().then(() => onChange(own, told)), late.promise])
    if (underWay > 0) throw new Error('it returned before its queries had ended')
  } catch (cause) {
    throw new OnChangeError(`onChange failed: ${(cause as Error)?.message}`, { cause, mayBeBusy: underWay > 0 })
  } finally {
    isOver = true
    clearTimeout(timer)
  }
}
