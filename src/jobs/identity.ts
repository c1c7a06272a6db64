/**
 * Checks that secret key, issuer and database belong to the same Clerk instance. A key of another instance would write its users
 * to the tables and delete the existing ones.
 */
import { createPublicKey } from 'node:crypto'
import { ClerkUnavailable } from '../clerk/api-errors.ts'
import type { BackendApi } from '../clerk/backend-api.ts'
import { findInstanceId, rememberInstanceId } from '../db/instance.ts'
import type { Executor } from '../db/statement.ts'

export interface IdentityOptions {
  api: Pick<BackendApi, 'findKeys' | 'findInstance'>
  /** The database, which stores the id of its instance. */
  executor: Executor
  /** The issuer, whose signing keys must be those of the secret key's instance; without it they are not compared. */
  issuer?: string
  /** Finds a key of the issuer in a key store; by default the keys are fetched. */
  findKey?: (kid: string) => Promise<'found' | 'absent' | 'unavailable'>
  /** A PEM public key, which is used instead of the issuer's keys. */
  jwtKey?: string
  /** Called if a comparison is skipped, because the API does not have the endpoint. */
  onWarning?: (message: string) => void
}

/** The settings belong to different Clerk instances. */
export class InstanceMismatch extends Error {
  override name = 'InstanceMismatch'
}

const DEADLINE_MS = 3_000

/**
 * Resolves if all belong to the same instance, whose id the first check stores in the database. May be repeated. Rejects with
 * `InstanceMismatch`, with `ClerkRefusal` (401, 403: a wrong key), or with `ClerkUnavailable` if Clerk cannot be reached.
 */
export async function checkIdentity(options: IdentityOptions): Promise<void> {
  const { api, executor, issuer, onWarning } = options
  if (issuer !== undefined) await compareKeys({ ...options, issuer })
  const instance = await api.findInstance()
  if (!instance) {
    onWarning?.('CLERK_API_URL has no /v1/instance: the Clerk instance of the database is not checked')
    return
  }
  // Without an issuer the key is not verified, so the instance is compared but not stored.
  const known = issuer === undefined ? await findInstanceId(executor) : await rememberInstanceId(executor, instance.id)
  if (known !== undefined && known !== instance.id) {
    throw new InstanceMismatch(
      `CLERK_SECRET_KEY belongs to the Clerk instance ${instance.id}, but the database of DATABASE_URL holds the users of ${known}. ` +
        `Set the secret key of ${known}, or the DATABASE_URL of ${instance.id}. To assign this database to another instance on purpose: ` +
        'clerk-session-sync migrate --adopt-instance',
    )
  }
}

async function compareKeys(options: IdentityOptions & { issuer: string }): Promise<void> {
  const { api, issuer, jwtKey, onWarning } = options
  const theirs = await api.findKeys()
  if (!theirs) {
    onWarning?.('CLERK_API_URL has no /v1/jwks: secret key and issuer are not compared')
    return
  }
  if (jwtKey === undefined ? await meetsIssuer(theirs, options) : theirs.some(meetsPem(jwtKey))) return
  const ids = theirs.map(({ kid }) => kid).join(', ')
  const instance = await api.findInstance()
  throw new InstanceMismatch(
    `CLERK_SECRET_KEY belongs to another Clerk instance (${instance?.id ?? 'unknown'}, which signs with ${ids || 'no key'}) than ` +
      `${jwtKey === undefined ? `CLERK_ISSUER (${issuer}, which signs with ${await issuerKeyIds(issuer)})` : 'CLERK_JWT_KEY'}. ` +
      'Use both from the same instance (Clerk Dashboard, API keys)',
  )
}

interface Key {
  kid: string
  /** The modulus, base64url. */
  n: string | undefined
}

async function meetsIssuer(theirs: Key[], { issuer, findKey }: IdentityOptions & { issuer: string }): Promise<boolean> {
  if (!findKey) {
    const ids = await fetchKeyIds(issuer)
    return theirs.some(({ kid }) => ids.includes(kid))
  }
  for (const { kid } of theirs) {
    const state = await findKey(kid)
    if (state === 'found') return true
    if (state === 'unavailable') throw new ClerkUnavailable(noKeysAt(keysUrl(issuer)))
  }
  return false
}

/** Makes a check whether a JWK is the same key as this PEM. */
export function meetsPem(pem: string): (key: { n?: unknown }) => boolean {
  const { n } = createPublicKey(pem).export({ format: 'jwk' })
  return (key) => key.n === n
}

const noKeysAt = (url: string) =>
  `no signing keys at CLERK_ISSUER (${url}): check that it is the Frontend API URL, and that this host reaches it`
const keysUrl = (issuer: string) => `${issuer}/.well-known/jwks.json`
const issuerKeyIds = async (issuer: string) => (await fetchKeyIds(issuer)).join(', ') || 'no key'

async function fetchKeyIds(issuer: string): Promise<string[]> {
  const url = keysUrl(issuer)
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(DEADLINE_MS) })
    const { keys } = (await response.json()) as { keys: { kid: string }[] }
    return keys.map(({ kid }) => kid)
  } catch {
    throw new ClerkUnavailable(noKeysAt(url))
  }
}
