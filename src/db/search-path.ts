// Plain, so that it is the same name with and without quotes.
const PLAIN_NAME = /^[a-z_][a-z0-9_]{0,62}$/

/**
 * The name of a schema, to be written into a statement (in quotes, since SQL may reserve it).
 * @throws TypeError when it is not plain: a-z, 0-9 and _, at most 63 characters, no digit first
 */
export function plain(schema: string): string {
  if (!PLAIN_NAME.test(schema)) throw new TypeError(`not a plain schema name: ${schema}`)
  return schema
}

/**
 * The connection string with `schema` as the whole `search_path` of every connection, so that no table of another schema is
 * ever taken for ours; unchanged without a schema. Other `options` of the string stay.
 * @throws TypeError when the name is not plain
 */
export function withSearchPath(connectionString: string, schema: string | undefined): string {
  if (schema === undefined) return connectionString
  // Of several `-c` the last one counts. https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNECT-OPTIONS
  const option = `-c%20search_path=${plain(schema)}`
  if (/[?&]options=/.test(connectionString)) {
    return connectionString.replace(/[?&]options=[^&]*/, (others) => `${others}%20${option}`)
  }
  return `${connectionString}${connectionString.includes('?') ? '&' : '?'}options=${option}`
}
