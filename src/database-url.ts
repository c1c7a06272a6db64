/** What can be said of a database's URL without connecting. No message quotes any of it: a piece may be of the password. */

const ESCAPE = 'characters such as @ / # ? in the user name or password must be escaped (%40 %2F %23 %3F)'

/** Why the URL cannot be used, and the remedy; undefined when `pg` takes it. */
export function databaseUrlFault(url: string): string | undefined {
  // A socket's directory and database name, as in "/var/run/postgresql app".
  if (url.startsWith('/')) return undefined
  // The host may be missing, where `?host=` names a socket (Cloud SQL), which is no URL to others.
  const complete = url.replace(/^(postgres(?:ql)?:\/\/[^/@]*@)(?=[/?])/, '$1socket')
  if (!URL.canParse(complete)) return `not a URL (${url.length} characters): ${ESCAPE}`
  const { pathname, search, searchParams, hash } = new URL(complete)
  if (hash !== '' || /@/.test(pathname + search.replace(/[?&]host=[^&]*/, ''))) {
    return `it has more than a host after the first @ or holds a # : ${ESCAPE}`
  }
  if (searchParams.has('schema')) return '?schema= is of Prisma alone: take it out, and set DATABASE_SCHEMA'
  return undefined
}
