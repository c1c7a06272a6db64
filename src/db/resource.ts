import type { Change, States } from '../domain/change.ts'
import type { Entity } from '../domain/feed.ts'
import type { EventReader } from '../domain/payload.ts'
import type { PgColumn, PgTable, SQL } from './drizzle.ts'
import type { Call, Qualify } from './statement.ts'

/** A kind of Clerk object with a table. The write path uses only this interface. */
export interface Resource<State extends object = object> {
  /** Its name in a `Change`. */
  readonly name: keyof States
  /** Its table, whose `id` is the id of a state. */
  readonly table: PgTable
  /** The readers of its events, by type. */
  readonly events: Readonly<Record<string, EventReader>>
  /**
   * Objects to lock before anything is written, for changes that affect each other but may have no common row to lock.
   */
  locksOf?(change: Change): string[]
  /** The rows that changes of other objects end: the id of such an object, and the column that holds it. */
  readonly endedBy?: readonly { idOf: (change: Change) => string | undefined; column: PgColumn }[]
  /** The statements that apply these changes, with at most one state per id in each, and a reader of their results. */
  write(changes: readonly Change[]): Writing
  /** How a deletion erases the ledger's payloads about it; only for resources with personal data. */
  readonly erasure?: Erasure
  /** How the ledger decides whether the row now has the state of a message. */
  readonly inLedger: InLedger<State>
  /** How the change feed reports its rows. */
  readonly inFeed: InFeed
}

/** Statements to run in this order, and how to read their rows. */
export interface Writing {
  calls: Call[]
  /** The states that were written, or that equal a written one. */
  written: () => Map<object, Written>
}

export interface Written {
  /** Whether it created a user's row. */
  created: boolean
}

export interface Erasure {
  /** The statements that erase payloads of messages after these changes are written. */
  calls(changes: readonly Change[]): Call[]
  /** A condition: whether payloads about this object, of this time, must not be kept. */
  isErased: (t: Qualify, id: SQL, at: SQL) => SQL
}

export interface InLedger<State> {
  /** The columns that it adds to the ledger's input, with their types. */
  columns: Record<string, string>
  input: (state: State) => Record<string, unknown>
  /** A scalar query on the input `i`: true if the row has the state's version; null without a state. */
  isCurrent: (t: Qualify) => SQL
  /** A condition on the failed message `e`: the row has a newer state, so a replay would change nothing. */
  isSuperseded: (t: Qualify) => SQL
}

export interface InFeed {
  entity: Entity
  /** The columns whose updates are reported: not versions and times. */
  visible: PgColumn[]
  /**
   * A condition on the row with this alias: true while the object exists. A row that starts to meet it is reported as `created`, one
   * that stops to as `deleted`, and one that never does is not reported.
   */
  isThere: (row: string) => string
  /** Columns with the ids of the objects that the row belongs to, whose changes may be the cause of its own. */
  owners?: PgColumn[]
}
