// Only characters that mean the same name with and without quotes.
const PLAIN_NAME = /^[a-z_][a-z0-9_]{0,62}$/

/** The default schema of the tables; not `public`, where an application's own tables usually are. */
export const DEFAULT_SCHEMA = 'clerk'

/**
 * Checks a schema name before it is written into a statement (in quotes, because it may be a reserved word).
 * @throws TypeError unless it is plain: a-z, 0-9 and _, at most 63 characters, no leading digit
 */
export function plain(schema: string): string {
  if (!PLAIN_NAME.test(schema)) throw new TypeError(`not a plain schema name: ${schema}`)
  return schema
}
