/** Helpers to define tables. */
import { pgTable, timestamp } from './drizzle.ts'

/** Makes a table: `pgTable`, or the `table` of a schema. */
export type MakeTable = typeof pgTable

/** Makes a table without a schema: statements add the schema to its name, and migrations run in the configured schema. */
export const makeTable: MakeTable = pgTable

/** A time column with millisecond precision, like times of Clerk and JavaScript. */
export const time = (name: string) => timestamp(name, { withTimezone: true, precision: 3 })
