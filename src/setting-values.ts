/** Parsers of setting values. None throws: a value that cannot be parsed becomes undefined or false. */
import { createPublicKey } from 'node:crypto'
import { isIP } from 'node:net'
import { SECRETS } from './secret-files.ts'

/** The entries of a comma-separated list. */
export const split = (text: string) =>
  text
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '')

/** A URL or origin without trailing slashes. */
export function trimSlash(url: string): string
export function trimSlash(url: string | undefined): string | undefined
export function trimSlash(url: string | undefined) {
  return url?.replace(/\/+$/, '')
}

/** Whether the value is quoted: a shell removes the quotes, `docker --env-file` and most hosting dashboards do not. */
export const isQuoted = (value: string) => /^\s*(["'])[\s\S]*\1\s*$/.test(value)

const MAX_SHOWN = 100
// The setting's name is no proof of what was pasted into it: it may be a key, a URL with a password or a token.
const LOOKS_SECRET = /sk_|whsec_|eyJ|-----BEGIN|:\/\/[^/]*@/

/** A value as an error message may show it: only its length if it may be a secret. */
export function shownValue(name: string, value: string): string {
  const isSecret = (SECRETS as readonly string[]).includes(name) || LOOKS_SECRET.test(value) || value.length > MAX_SHOWN
  return isSecret ? `${value.length} characters` : JSON.stringify(value)
}

/** The issuer of a publishable key, whose last part is `<Frontend API host>$` in base64. */
export function issuerOf(publishableKey: string | undefined): string | undefined {
  if (publishableKey === undefined) return undefined
  const host = Buffer.from(publishableKey.replace(/^pk_(test|live)_/, ''), 'base64').toString('utf8')
  return /^[a-z0-9.-]+(:\d+)?\$$/i.test(host) ? `https://${host.slice(0, -1)}` : undefined
}

/** A PEM key; line breaks may be written as a backslash and an n. */
export const toPem = (key: string) => key.replaceAll('\\n', '\n')

/** Whether the PEM holds a public RSA key. */
export function isRsaPublicKey(key: string): boolean {
  try {
    return createPublicKey(toPem(key)).asymmetricKeyType === 'rsa' && !key.includes('PRIVATE')
  } catch {
    return false
  }
}

/** The value for Fastify's `trustProxy`; undefined if it cannot be parsed. */
export function trustProxy(text: string): boolean | number | string[] | undefined {
  if (text === 'true' || text === 'false') return text === 'true'
  if (/^\d+$/.test(text)) return Number(text)
  const addresses = split(text)
  const isAddress = (entry: string) => {
    const [, address = '', bits] = /^(.*?)(?:\/(\d{1,3}))?$/.exec(entry) ?? []
    const family = isIP(address)
    const isRange = bits === undefined || (Number(bits) >= 1 && Number(bits) <= (family === 4 ? 32 : 128))
    return (family > 0 && isRange) || ['loopback', 'linklocal', 'uniquelocal'].includes(entry)
  }
  return addresses.every(isAddress) ? addresses : undefined
}

/** Whether a URL contains a user name or a password. */
export function hasCredentials(url: string): boolean {
  const { username, password } = new URL(url)
  return username !== '' || password !== ''
}

/** Whether nobody between can read or change requests to a URL: it is `https:`, or on this machine. */
export function isPrivate(url: string): boolean {
  const { protocol, hostname } = new URL(url)
  return protocol === 'https:' || /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/.test(hostname)
}

const ESCAPE = 'characters such as @ / # ? in the user name or password must be escaped (%40 %2F %23 %3F)'

/** Why a database URL cannot be used, without quoting any of it; undefined if `pg` accepts it. */
export function databaseUrlFault(url: string): string | undefined {
  // A socket directory and a database name, as in "/var/run/postgresql app".
  if (url.startsWith('/')) return undefined
  // `pg` accepts a URL without a host if `?host=` names a socket (Cloud SQL), but the URL parser does not.
  const complete = url.replace(/^(postgres(?:ql)?:\/\/[^/@]*@)(?=[/?])/, '$1socket')
  if (!URL.canParse(complete)) return `not a URL: ${ESCAPE}`
  const { pathname, search, searchParams, hash } = new URL(complete)
  if (hash !== '' || /@/.test(pathname + search.replace(/[?&]host=[^&]*/, ''))) {
    return `it has more than a host after the first @, or contains a # : ${ESCAPE}`
  }
  if (searchParams.has('schema')) return '?schema= is understood by Prisma only: remove it, and set DATABASE_SCHEMA'
  return undefined
}
