/** How the text of a setting is read. Nothing here throws: what cannot be read is undefined, or false. */
import { createPublicKey } from 'node:crypto'
import { isIP } from 'node:net'
import { SECRETS } from './secret-files.ts'

/** The entries of a list with commas. */
export const split = (text: string) =>
  text
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '')

/** A URL or origin without slashes at its end. */
export function trimSlash(url: string): string
export function trimSlash(url: string | undefined): string | undefined
export function trimSlash(url: string | undefined) {
  return url?.replace(/\/+$/, '')
}

/** Whether the value is in quotes: a shell takes them away, `docker --env-file` and most dashboards do not. */
export const isQuoted = (value: string) => /^\s*(["'])[\s\S]*\1\s*$/.test(value)

const MAX_SHOWN = 100
// The setting's name says nothing of what was pasted into it: keys, passwords in URLs, tokens.
const LOOKS_SECRET = /sk_|whsec_|eyJ|-----BEGIN|:\/\/[^/]*@/

/** A value as an error message may show it: its length alone where it is, or may be, a secret. */
export function shownValue(name: string, value: string): string {
  const isSecret = (SECRETS as readonly string[]).includes(name) || LOOKS_SECRET.test(value) || value.length > MAX_SHOWN
  return isSecret ? `${value.length} characters` : JSON.stringify(value)
}

/** The issuer that a publishable key stands for: its last part is `<Frontend API host>$` in base64. */
export function issuerOf(publishableKey: string | undefined): string | undefined {
  if (publishableKey === undefined) return undefined
  const host = Buffer.from(publishableKey.replace(/^pk_(test|live)_/, ''), 'base64').toString('utf8')
  return /^[a-z0-9.-]+(:\d+)?\$$/i.test(host) ? `https://${host.slice(0, -1)}` : undefined
}

/** A PEM, also from one whose line breaks are a backslash and an n. */
export const toPem = (key: string) => key.replaceAll('\\n', '\n')

/** Whether it is the PEM of an RSA key, and of no private one. */
export function isRsaPublicKey(key: string): boolean {
  try {
    return createPublicKey(toPem(key)).asymmetricKeyType === 'rsa' && !key.includes('PRIVATE')
  } catch {
    return false
  }
}

/** As Fastify's `trustProxy` takes it. Undefined where it cannot be read. */
export function trustProxy(text: string): boolean | number | string[] | undefined {
  if (text === 'true' || text === 'false') return text === 'true'
  if (/^\d+$/.test(text)) return Number(text)
  const addresses = split(text)
  const isAddress = (address: string) =>
    isIP(address.replace(/\/\d{1,3}$/, '')) > 0 || ['loopback', 'linklocal', 'uniquelocal'].includes(address)
  return addresses.every(isAddress) ? addresses : undefined
}

/** Whether a URL holds a user name or a password. */
export function hasCredentials(url: string): boolean {
  const { username, password } = new URL(url)
  return username !== '' || password !== ''
}

/** Whether nobody on the way can read or change what goes to a URL: it is `https:`, or of this machine. */
export function isPrivate(url: string): boolean {
  const { protocol, hostname } = new URL(url)
  return protocol === 'https:' || /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/.test(hostname)
}

const ESCAPE = 'characters such as @ / # ? in the user name or password must be escaped (%40 %2F %23 %3F)'

/** Why a database's URL cannot be used, without quoting any of it; undefined when `pg` takes it. */
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
