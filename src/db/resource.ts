import type { SQL } from 'drizzle-orm'
import type { PgColumn, PgTable } from 'drizzle-orm/pg-core'
import type { Change, States } from '../domain/change.ts'
import type { Entity } from '../domain/feed.ts'
import type { EventReader } from '../domain/payload.ts'
import type { Call, Qualify } from './statement.ts'

/** A kind of Clerk's objects that has a table here. The write path knows resources by this alone. */
export interface Resource<State extends object = object> {
  /** Its name in a `Change`. */
  readonly name: keyof States
  /** Its rows have the id of a state as `id`. */
  readonly table: PgTable
  /** How the events about it are read, by type. */
  readonly events: Readonly<Record<string, EventReader>>
  /**
   * Objects by which changes meet that may find no row to meet at, since one may come before the other. All are locked
   * before anything is written.
   */
  locksOf?(change: Change): string[]
  /** The statements that apply these changes, one state an id in each, and what they wrote. */
  write(changes: readonly Change[]): Writing
  /** Where a deletion of it erases what the ledger keeps of it. */
  readonly erasure?: Erasure
  /** How the ledger decides whether a message's state is what the row says now. */
  readonly inLedger: InLedger<State>
  /** What the change feed tells of its rows. */
  readonly inFeed: InFeed
}

/** Statements to be run in this order, and what to make of their rows. */
export interface Writing {
  calls: Call[]
  /** The states that were written, or that say the same as what was written. */
  written: () => Map<object, Written>
}

export interface Written {
  /** Whether it made a new row of a user. */
  created: boolean
}

export interface Erasure {
  /** The statements that erase the bodies of messages after these changes are written. */
  calls(changes: readonly Change[]): Call[]
  /** A condition: whether nothing may be kept that was said of this object at this time. */
  isErased: (t: Qualify, id: SQL, at: SQL) => SQL
}

export interface InLedger<State> {
  /** The columns of its input, with their types. */
  columns: Record<string, string>
  input: (state: State) => Record<string, unknown>
  /** A scalar query on the input `i`: true when the row is of this state's version. Null without a state. */
  isCurrent: (t: Qualify) => SQL
  /** A condition on the failed message `e`: that the row has newer news of the object, so that a replay would change nothing. */
  isSuperseded: (t: Qualify) => SQL
}

export interface InFeed {
  entity: Entity
  /** The columns of which an update is told: neither versions nor times. */
  visible: PgColumn[]
  /**
   * A condition on the row of this name: true as long as the object is there. A row that begins to meet it is told as
   * `created`, one that no longer does as `deleted`, and one that never did is not told at all.
   */
  isThere: (row: string) => string
  /** Columns with the ids of what the row belongs to: their changes may be the cause of its own. */
  owners?: PgColumn[]
}
