/**
 * Whether secret key, issuer and database are of one Clerk instance. A key of another instance would write its users here, and
 * tombstone ours: nothing that it says may reach the tables.
 */
import { createPublicKey } from 'node:crypto'
import { ClerkUnavailable } from '../clerk/api-errors.ts'
import type { BackendApi } from '../clerk/backend-api.ts'
import { findInstanceId, rememberInstanceId } from '../db/instance.ts'
import type { Executor } from '../db/statement.ts'

export interface IdentityOptions {
  api: Pick<BackendApi, 'findKeys' | 'findInstance'>
  /** The database that remembers its instance. */
  executor: Executor
  /** Whose keys those of the secret key's instance must meet; without it they are not compared. */
  issuer?: string
  /** Finds a key of the issuer, where its keys are at hand; by default they are fetched. */
  findKey?: (kid: string) => Promise<'found' | 'absent' | 'unavailable'>
  /** A PEM public key, which takes the place of the issuer's keys. */
  jwtKey?: string
  /** Called where a comparison is left out, because the API does not know the question. */
  onWarning?: (message: string) => void
}

/** The settings name two Clerk instances. */
export class InstanceMismatch extends Error {
  override name = 'InstanceMismatch'
}

const DEADLINE_MS = 3_000

/**
 * Resolves when all are of one instance; the database remembers which, from the first time on. May be repeated.
 * Rejects with `InstanceMismatch`, with `ClerkRefusal` (401, 403: a wrong key), or `ClerkUnavailable` when Clerk cannot be asked.
 */
export async function checkIdentity(options: IdentityOptions): Promise<void> {
  const { api, executor, issuer, onWarning } = options
  if (issuer !== undefined) await compareKeys({ ...options, issuer })
  const instance = await api.findInstance()
  if (!instance) {
    onWarning?.('CLERK_API_URL does not know /v1/instance: the Clerk instance of the database is not checked')
    return
  }
  // Without an issuer nothing vouches for the key: then it is only compared.
  const known = issuer === undefined ? await findInstanceId(executor) : await rememberInstanceId(executor, instance.id)
  if (known !== undefined && known !== instance.id) {
    throw new InstanceMismatch(
      `CLERK_SECRET_KEY is of the Clerk instance ${instance.id}, but the database of DATABASE_URL holds the users of ${known}. ` +
        `Set the secret key of ${known}, or the DATABASE_URL of ${instance.id}. To take this database over on purpose: ` +
        'clerk-session-sync migrate --adopt-instance',
    )
  }
}

async function compareKeys(options: IdentityOptions & { issuer: string }): Promise<void> {
  const { api, issuer, jwtKey, onWarning } = options
  const theirs = await api.findKeys()
  if (!theirs) {
    onWarning?.('CLERK_API_URL does not know /v1/jwks: secret key and issuer are not compared')
    return
  }
  if (jwtKey === undefined ? await meetsIssuer(theirs, options) : theirs.some(meetsPem(jwtKey))) return
  const ids = theirs.map(({ kid }) => kid).join(', ')
  const instance = await api.findInstance()
  throw new InstanceMismatch(
    `CLERK_SECRET_KEY is of another Clerk instance (${instance?.id ?? 'unknown'}, which signs with ${ids || 'no key'}) than ` +
      `${jwtKey === undefined ? `CLERK_ISSUER (${issuer}, which signs with ${await issuerKeyIds(issuer)})` : 'CLERK_JWT_KEY'}. ` +
      'Take both from one instance (Clerk dashboard, API keys)',
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
    if (state === 'unavailable') throw new ClerkUnavailable(`no keys at CLERK_ISSUER (${keysUrl(issuer)})`)
  }
  return false
}

/** Whether a key is the public one of this PEM. */
export function meetsPem(pem: string): (key: { n?: unknown }) => boolean {
  const { n } = createPublicKey(pem).export({ format: 'jwk' })
  return (key) => key.n === n
}

const keysUrl = (issuer: string) => `${issuer}/.well-known/jwks.json`
const issuerKeyIds = async (issuer: string) => (await fetchKeyIds(issuer)).join(', ') || 'no key'

async function fetchKeyIds(issuer: string): Promise<string[]> {
  const url = keysUrl(issuer)
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(DEADLINE_MS) })
    const { keys } = (await response.json()) as { keys: { kid: string }[] }
    return keys.map(({ kid }) => kid)
  } catch {
    throw new ClerkUnavailable(`no keys at CLERK_ISSUER (${url})`)
  }
}
