// Plain, so that it is the same name with and without quotes.
const PLAIN_NAME = /^[a-z_][a-z0-9_]{0,62}$/

/** Where the tables live by default: an application's own tables are usually in `public`. */
export const DEFAULT_SCHEMA = 'clerk'

/**
 * The name of a schema, to be written into a statement (in quotes, since SQL may reserve it).
 * @throws TypeError when it is not plain: a-z, 0-9 and _, at most 63 characters, no digit first
 */
export function plain(schema: string): string {
  if (!PLAIN_NAME.test(schema)) throw new TypeError(`not a plain schema name: ${schema}`)
  return schema
}
