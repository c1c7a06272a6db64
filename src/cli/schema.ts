/** `schema`: prints the tables for Prisma, Kysely or psql. */
import { getTableConfig, type PgColumn, type PgTable, readMigrationFiles } from '../db/drizzle.ts'
import { MIGRATIONS, MIGRATIONS_TABLE, revokeSql } from '../db/migrate.ts'
import { tablesIn } from '../db/schema.ts'
import { plain } from '../db/schema-name.ts'
import { type Context, EXIT_DONE, EXIT_WRONG_USAGE } from './context.ts'

export interface SchemaFlags {
  prisma?: boolean
  kysely?: boolean
  sql?: boolean
}

const FORMATS = { prisma: toPrisma, kysely: toKysely, sql: toSql }

export async function runSchema({ config, output }: Context, flags: SchemaFlags): Promise<number> {
  const chosen = (['prisma', 'kysely', 'sql'] as const).filter((format) => flags[format])
  const [format] = chosen
  if (format === undefined || chosen.length > 1) {
    output.note('Choose one of --prisma, --kysely and --sql.')
    return EXIT_WRONG_USAGE
  }
  const text = FORMATS[format](config.DATABASE_SCHEMA)
  output.result({ format, text }, text.replaceAll('\t', '  ').split('\n'))
  return EXIT_DONE
}

// The type of a column in each format.
const TYPES: Record<string, { prisma: string; kysely: string }> = {
  text: { prisma: 'String', kysely: 'string' },
  boolean: { prisma: 'Boolean', kysely: 'boolean' },
  integer: { prisma: 'Int', kysely: 'number' },
  bigint: { prisma: 'BigInt', kysely: 'string' },
  jsonb: { prisma: 'Json', kysely: 'JSONColumnType<Record<string, unknown>>' },
  // Prisma does not know this type, so its client leaves the column out.
  xid8: { prisma: 'Unsupported("xid8")', kysely: 'string' },
  'text[]': { prisma: 'String[]', kysely: 'string[]' },
  'timestamp (3) with time zone': { prisma: 'DateTime', kysely: 'Timestamp' },
}
const typeOf = (column: PgColumn) => TYPES[column.getSQLType()] as { prisma: string; kysely: string }

const camel = (name: string) => name.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase())
const pascal = (name: string) => camel(`_${name}`)
const singular = (name: string) => name.replace(/ies$/, 'y').replace(/s$/, '')

const tablesOf = (schema: string) => Object.values(tablesIn(schema)).map((table) => getTableConfig(table as PgTable))

function toPrisma(schema: string): string {
  const models = tablesOf(schema).map(({ name, columns, indexes, primaryKeys }) => {
    const fields = columns.map((column) => {
      const { prisma } = typeOf(column)
      const isOptional = !column.notNull && !prisma.endsWith('[]')
      const attributes = [
        ...(column.primary ? ['@id'] : []),
        ...(column.name.includes('_') ? [`@map("${column.name}")`] : []),
        ...(prisma === 'DateTime' ? ['@db.Timestamptz(3)'] : []),
        ...(prisma === 'DateTime' && column.hasDefault ? ['@default(now())'] : []),
      ]
      return `  ${[camel(column.name), `${prisma}${isOptional ? '?' : ''}`, ...attributes].join(' ')}`
    })
    // Prisma accepts no key with a type that it does not know. Its client leaves such a table out.
    const ignored = primaryKeys.length > 0 ? ['  @@ignore'] : []
    // Prisma does not support partial indexes.
    const on = indexes
      .filter(({ config }) => !config.where)
      .map(({ config }) => {
        const names = config.columns.map((column) => camel((column as PgColumn).name))
        return `  @@index([${names.join(', ')}], map: "${config.name}"${config.method === 'hash' ? ', type: Hash' : ''})`
      })
    return [
      `model ${pascal(singular(name))} {`,
      ...fields,
      '',
      ...ignored,
      ...on,
      `  @@map("${name}")`,
      `  @@schema("${plain(schema)}")`,
      '}',
    ].join('\n')
  })
  return [
    `// In the datasource: schemas = ["${plain(schema)}", "public"]. clerk-session-sync writes these tables: only read them.`,
    ...models,
  ].join('\n\n')
}

function toKysely(schema: string): string {
  const tables = tablesOf(schema)
  const interfaces = tables.map(({ name, columns }) =>
    [
      `export interface ${pascal(singular(name))} {`,
      ...columns.map((column) => {
        const { kysely } = typeOf(column)
        const type = column.notNull ? kysely : `${kysely} | null`
        return `  ${column.name}: ${column.hasDefault ? `Generated<${type}>` : type}`
      }),
      '}',
    ].join('\n'),
  )
  const database = tables.map(({ name }) => `  '${plain(schema)}.${name}': ${pascal(singular(name))}`)
  return [
    "import type { ColumnType, Generated, JSONColumnType } from 'kysely'",
    'export type Timestamp = ColumnType<Date, Date | string, Date | string>',
    ...interfaces,
    ['/** Part of your `Database`. */', 'export interface ClerkSessionSync {', ...database, '}'].join('\n'),
  ].join('\n\n')
}

function toSql(schema: string): string {
  const name = plain(schema)
  const files = readMigrationFiles({ migrationsFolder: MIGRATIONS })
  const noted = files.map(({ hash, folderMillis }) => `('${hash}', ${folderMillis})`).join(',\n  ')
  const statements = files.flatMap(({ sql }) => sql.map((text) => text.trim().replace(/;?$/, ';')))
  return [
    'begin;',
    `create schema if not exists "${name}";`,
    `set local search_path = "${name}";`,
    ...statements.filter((text) => text !== ';'),
    '-- What clerk-session-sync migrate has applied.',
    `create table "${MIGRATIONS_TABLE}" (id serial primary key, hash text not null, created_at bigint);`,
    `insert into "${MIGRATIONS_TABLE}" (hash, created_at) values\n  ${noted};`,
    '-- Roles such as anon, which may have default privileges, get nothing.',
    `${revokeSql(name, false)};`,
    'commit;',
  ].join('\n')
}
