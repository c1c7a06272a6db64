/** What an error says: whether of the data, of a row that somebody else holds, or of the database itself. */
import pg from 'pg'

// SQLSTATE classes that blame the data or the statement: cardinality, data, integrity, check option, syntax or access,
// limits, raised by a trigger. https://www.postgresql.org/docs/current/errcodes-appendix.html
const DATA_ERROR = /^(21|22|23|44|42|54|P0)/
// No permission, no such table: not migrated, or not for us.
const NOT_THE_DATA = new Set(['42501', '42P01', '3F000'])

const codeOf = (error: unknown) => (error instanceof pg.DatabaseError ? String(error.code) : undefined)

/** Whether PostgreSQL refused this data, and would refuse it again. */
export function isDataError(error: unknown): error is pg.DatabaseError {
  const code = codeOf(error)
  return code !== undefined && DATA_ERROR.test(code) && !NOT_THE_DATA.has(code)
}

/** Whether PostgreSQL answered, if only with an error. */
export const isServerError = (error: unknown): boolean => error instanceof pg.DatabaseError

/** Whether two transactions got into each other's way: trying again helps. */
export const isConflict = (error: unknown): boolean => ['40001', '40P01'].includes(codeOf(error) ?? '')

/** Whether somebody else held a row for too long. */
export const isLockTimeout = (error: unknown): boolean => codeOf(error) === '55P03'

// What pg, TLS and sockets throw has no class in common; what the pool gets from them is noted here instead.
const troubles = new WeakSet<object>()

// Node's and OpenSSL's names for a certificate that cannot be trusted (https://nodejs.org/api/tls.html#x509-certificate-error-codes).
const CERTIFICATE = /^(SELF_SIGNED_CERT_IN_CHAIN|DEPTH_ZERO_SELF_SIGNED_CERT|UNABLE_TO_|CERT_|ERR_TLS_CERT_)/

/** The remedy where PostgreSQL's certificate is not trusted, which waiting does not cure; else undefined. */
export function certificateRemedy(error: unknown): string | undefined {
  const { code, message } = (error ?? {}) as { code?: unknown; message?: string }
  if (typeof code !== 'string' || !CERTIFICATE.test(code)) return undefined
  return (
    `PostgreSQL's certificate is not trusted (${message}). Add sslrootcert=<file with its CA> to DATABASE_URL, with ` +
    'sslmode=verify-full; or uselibpqcompat=true&sslmode=require, which encrypts and checks nothing'
  )
}

/** Notes that this error, which a connection gave us, is trouble of the database, and throws it. Bugs of ours stay bugs. */
export function markTrouble(error: unknown): never {
  const isBug = error instanceof TypeError || error instanceof ReferenceError || error instanceof RangeError
  if (error instanceof Error && !isBug) troubles.add(error)
  throw error
}

/**
 * Whether the database is in trouble of its own: unreachable, starting, read-only, out of connections, refusing the login,
 * too slow, or in any other state that is not about the data.
 */
export function isDatabaseTrouble(error: unknown): boolean {
  if (error instanceof pg.DatabaseError) return !isDataError(error)
  return error instanceof Error && troubles.has(error)
}
