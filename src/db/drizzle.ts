/**
 * What this project uses of Drizzle, loaded by `require`: for each of its hundred ES modules Node.js parses the package.json of
 * drizzle-orm, which is 180 KB long, and that was a third of a start. No other file imports Drizzle.
 */
import { createRequire } from 'node:module'

export type { SQL } from 'drizzle-orm'
export type { PgColumn, PgTable } from 'drizzle-orm/pg-core'

const require = createRequire(import.meta.url)

export const { getTableColumns, getTableName, sql } = require('drizzle-orm') as typeof import('drizzle-orm')
export const { readMigrationFiles } = require('drizzle-orm/migrator') as typeof import('drizzle-orm/migrator')
export const {
  bigint,
  boolean,
  customType,
  getTableConfig,
  index,
  integer,
  jsonb,
  PgDialect,
  PgSchema,
  pgTable,
  primaryKey,
  text,
  timestamp,
} = require('drizzle-orm/pg-core') as typeof import('drizzle-orm/pg-core')
