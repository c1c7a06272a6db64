/** What tables are made with. */
import { pgTable, timestamp } from 'drizzle-orm/pg-core'

/** Makes a table: `pgTable`, or the `table` of a schema. */
export type MakeTable = typeof pgTable

/** Makes a table without a schema: statements name it with theirs, and migrations run in whichever is set. */
export const makeTable: MakeTable = pgTable

/** A column of times in milliseconds, as Clerk and JavaScript know them. */
export const time = (name: string) => timestamp(name, { withTimezone: true, precision: 3 })
