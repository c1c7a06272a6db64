/** Classifies errors: by the data, by a locked row, or by a problem of the database itself. */
import pg from 'pg'

// SQLSTATE classes of errors in the data or the statement: cardinality, data, integrity, check option, syntax or access,
// limits, raised by a trigger. https://www.postgresql.org/docs/current/errcodes-appendix.html
const DATA_ERROR = /^(21|22|23|44|42|54|P0)/
// No permission or no such table: the database is not migrated, or the role lacks rights.
const NOT_THE_DATA = new Set(['42501', '42P01', '3F000'])

const codeOf = (error: unknown) => (error instanceof pg.DatabaseError ? String(error.code) : undefined)

/** Whether PostgreSQL refused the data, and would refuse it again. */
export function isDataError(error: unknown): error is pg.DatabaseError {
  const code = codeOf(error)
  return code !== undefined && DATA_ERROR.test(code) && !NOT_THE_DATA.has(code)
}

/** Whether PostgreSQL answered with an error, so that it is reachable. */
export const isServerError = (error: unknown): boolean => error instanceof pg.DatabaseError

/** Whether two transactions conflicted, so that a retry helps. */
export const isConflict = (error: unknown): boolean => ['40001', '40P01'].includes(codeOf(error) ?? '')

/** Whether another transaction held a row lock for too long. */
export const isLockTimeout = (error: unknown): boolean => codeOf(error) === '55P03'

/** Whether the database takes no writes, like a standby. */
export const isReadOnly = (error: unknown): boolean => codeOf(error) === '25006'

// Errors of pg, TLS and sockets have no common class, so the pool records here which errors came from a connection.
const troubles = new WeakSet<object>()

// Node's and OpenSSL's names for a certificate that cannot be trusted (https://nodejs.org/api/tls.html#x509-certificate-error-codes).
const CERTIFICATE = /^(SELF_SIGNED_CERT_IN_CHAIN|DEPTH_ZERO_SELF_SIGNED_CERT|UNABLE_TO_|CERT_|ERR_TLS_CERT_)/

/** The remedy if PostgreSQL's certificate is not trusted, which a retry cannot fix; otherwise undefined. */
export function certificateRemedy(error: unknown): string | undefined {
  const { code, message } = (error ?? {}) as { code?: unknown; message?: string }
  if (typeof code !== 'string' || !CERTIFICATE.test(code)) return undefined
  return (
    `PostgreSQL's certificate is not trusted (${message}). Add sslrootcert=<file with its CA> to DATABASE_URL, with ` +
    'sslmode=verify-full; or uselibpqcompat=true&sslmode=require, which encrypts and checks nothing'
  )
}

/** What is wrong with the database, and the remedy; undefined if the error's own message says it. */
export function databaseRemedy(error: unknown): string | undefined {
  const certificate = certificateRemedy(error)
  if (certificate !== undefined || !isDatabaseTrouble(error)) return certificate
  const { message, code } = error as Error & { code?: string }
  // The AggregateError for a host with several addresses has an empty message.
  const reason = message || String(code)
  if (!isServerError(error) || code?.startsWith('57P')) {
    return `PostgreSQL is not available (${reason}): check DATABASE_URL, and that it runs and accepts connections from this host`
  }
  // Invalid authorization, and a database that does not exist.
  if (code?.startsWith('28') || code === '3D000') {
    return `PostgreSQL refuses the login (${reason}): check user, password and database name of DATABASE_URL`
  }
  return isReadOnly(error)
    ? `the database of DATABASE_URL is read-only, like a standby (${reason}): use the URL of the primary`
    : undefined
}

/** Records that this error came from a connection, so that it is not taken for a bug of the service, and throws it. */
export function markTrouble(error: unknown): never {
  const isBug = error instanceof TypeError || error instanceof ReferenceError || error instanceof RangeError
  if (error instanceof Error && !isBug) troubles.add(error)
  throw error
}

/**
 * Whether the database itself has a problem: unreachable, starting, read-only, out of connections, refusing the login, too slow,
 * or any other state that does not depend on the data.
 */
export function isDatabaseTrouble(error: unknown): boolean {
  if (error instanceof pg.DatabaseError) return !isDataError(error)
  return error instanceof Error && troubles.has(error)
}
