import { ClerkRefusal } from '../../clerk/api-errors.ts'
import { type BackendApi, MAX_IDS } from '../../clerk/backend-api.ts'
import { hasNoOrganizations } from '../../clerk/organization-lists.ts'
import { findInstanceId } from '../../db/instance.ts'
import { findLedgerTypes } from '../../db/ledger-types.ts'
import { checkIdentity, meetsPem } from '../../jobs/identity.ts'
import { compareUsers } from '../../resources/user/drift.ts'
import { type Context, createApi, withDatabase } from '../context.ts'
import { countOf } from '../output.ts'
import { type Check, fail, guarded, pass, reasonOf, warn } from './check.ts'

const DEADLINE_MS = 5_000
const SKEW_SECONDS = 5
const ISSUER_REMEDY =
  'check CLERK_ISSUER (Clerk Dashboard, API keys: the Frontend API URL) and outgoing connections of this host'

/** Checks the issuer's keys and clock, the secret key, and a sample of the users. */
export async function checkClerk(context: Context, hasDatabase: boolean): Promise<Check[]> {
  const { CLERK_ISSUER, CLERK_JWT_KEY } = context.config
  const keys = await checkKeys(CLERK_ISSUER as string, CLERK_JWT_KEY)
  const checks = [...keys.checks]
  if (!context.config.CLERK_SECRET_KEY) return checks
  const api = createApi(context, { maxAttempts: 2, deadlineMs: DEADLINE_MS })
  try {
    const theirs = await api.findKeys()
    const isSame =
      !theirs ||
      (CLERK_JWT_KEY
        ? theirs.some(meetsPem(CLERK_JWT_KEY))
        : keys.ids.length === 0 || theirs.some(({ kid }) => keys.ids.includes(kid)))
    const users = `the secret key is valid, for an instance with ${countOf(await api.countUsers(), 'user')}`
    const remedy = `take CLERK_SECRET_KEY and ${CLERK_JWT_KEY ? 'CLERK_JWT_KEY' : 'CLERK_ISSUER'} from one instance`
    checks.push(isSame ? pass('Backend API', users) : fail('Backend API', `${users} other than the issuer's`, remedy))
    const identity = hasDatabase ? await checkInstance(context, api) : undefined
    if (identity) checks.push(identity)
    if (identity?.status === 'pass') {
      checks.push(
        ...(await guarded('drift', async () => [await checkSample(context, api)], 'see its message')),
        ...(await guarded('organizations', () => checkOrganizations(context, api), 'see its message')),
      )
    }
  } catch (error) {
    const remedy =
      error instanceof ClerkRefusal ? 'copy CLERK_SECRET_KEY again' : 'check CLERK_API_URL and status.clerk.com'
    checks.push(fail('Backend API', reasonOf(error), remedy))
  }
  return checks
}

/** Whether secret key, issuer and database belong to the same Clerk instance. */
async function checkInstance(context: Context, api: BackendApi): Promise<Check> {
  const warnings: string[] = []
  const { CLERK_ISSUER: issuer, CLERK_JWT_KEY: jwtKey } = context.config
  try {
    const known = await withDatabase(context, async ({ pool: executor }) => {
      await checkIdentity({ api, executor, issuer, jwtKey, onWarning: (message) => warnings.push(message) })
      return findInstanceId(executor)
    })
    if (warnings.length > 0) return warn('instance', warnings.join('; '), 'check CLERK_API_URL')
    return pass('instance', `secret key, issuer and database belong to ${known}`)
  } catch (error) {
    return fail('instance', reasonOf(error), 'nothing is written until they belong to the same instance')
  }
}

async function checkKeys(issuer: string, pem?: string): Promise<{ checks: Check[]; ids: string[] }> {
  try {
    const { keys, skewSeconds } = await fetchKeys(issuer)
    const ids = keys.map(({ kid }) => String(kid))
    const skew = `this host's clock minus Clerk's is ${skewSeconds} s`
    return {
      ids,
      checks: [
        pem
          ? checkPem(pem, keys, issuer)
          : ids.length > 0
            ? pass('keys (JWKS)', `${ids.length} at ${issuer}`)
            : fail('keys (JWKS)', `none at ${issuer}`, ISSUER_REMEDY),
        Math.abs(skewSeconds) > SKEW_SECONDS
          ? fail('clock', skew, 'synchronize the clock with NTP: tokens and webhooks carry times')
          : pass('clock', "agrees with Clerk's"),
      ],
    }
  } catch (error) {
    const reason = `${keysUrl(issuer)}: ${reasonOf(error)}`
    // With CLERK_JWT_KEY the service never fetches the issuer's keys.
    const check = pem
      ? pass('keys (CLERK_JWT_KEY)', `a public key; not compared with the issuer's (${reason})`)
      : fail('keys (JWKS)', reason, ISSUER_REMEDY)
    return { ids: [], checks: [check] }
  }
}

/** Whether CLERK_JWT_KEY is one of the issuer's signing keys. */
function checkPem(pem: string, keys: PublishedKey[], issuer: string): Check {
  if (keys.some(meetsPem(pem))) return pass('keys (CLERK_JWT_KEY)', `the issuer's own (${issuer})`)
  const detail = `not one of the ${keys.length} signing keys of ${issuer}: every token will be refused`
  const remedy =
    'copy the JWKS public key again (Clerk Dashboard, API keys), or unset CLERK_JWT_KEY to have the keys fetched'
  return fail('keys (CLERK_JWT_KEY)', detail, remedy)
}

export interface PublishedKey {
  kid?: unknown
  n?: unknown
}

const keysUrl = (issuer: string) => `${issuer}/.well-known/jwks.json`

/** The keys that the issuer publishes, and by how many seconds the local clock is ahead of the issuer's. */
export async function fetchKeys(issuer: string): Promise<{ keys: PublishedKey[]; skewSeconds: number }> {
  const response = await fetch(keysUrl(issuer), { signal: AbortSignal.timeout(DEADLINE_MS) })
  if (!response.ok) throw new Error(`status ${response.status}`)
  const { keys } = (await response.json()) as { keys?: PublishedKey[] }
  const theirs = Date.parse(String(response.headers.get('date')))
  return { keys: keys ?? [], skewSeconds: Math.trunc((Date.now() - theirs) / 1_000) }
}

async function checkSample(context: Context, api: BackendApi): Promise<Check> {
  const { users } = await api.listUsers({ orderBy: '-updated_at', limit: MAX_IDS })
  const rows = await withDatabase(context, ({ pool }) => compareUsers(pool, users))
  const drifting = rows.filter(({ difference }) => difference !== 'same' && difference !== 'deleted').length
  const detail = `${drifting} of the ${countOf(users.length, 'user')} that changed last at Clerk`
  if (users.length > 0 && rows.every(({ difference }) => difference === 'missing')) {
    return warn(
      'drift',
      `of the ${countOf(users.length, 'user')} that changed last at Clerk, none has a row here`,
      'run clerk-session-sync backfill to copy all users',
    )
  }
  return drifting > 0
    ? warn('drift', detail, 'run clerk-session-sync reconcile, then reconcile --fix')
    : pass('drift', `none of the ${countOf(users.length, 'user')} that changed last at Clerk`)
}

// The event types that the endpoint must be subscribed to for organizations.
const ORGANIZATION_EVENTS = ['organization', 'organizationMembership', 'role', 'organizationInvitation']

/** Whether events about organizations arrive, if the instance has organizations. */
async function checkOrganizations(context: Context, api: BackendApi): Promise<Check[]> {
  const { total, items } = await api.list('/v1/organizations', { limit: 1 }).catch((error) => {
    if (hasNoOrganizations(error)) return { total: 0, items: [] }
    throw error
  })
  const organizations = total ?? items.length
  if (organizations === 0) return []
  const ledger = await withDatabase(context, ({ pool }) => findLedgerTypes(pool))
  const silent = ORGANIZATION_EVENTS.filter((name) => !ledger.some(({ type }) => type.startsWith(`${name}.`)))
  const detail = `an instance with ${countOf(organizations, 'organization')}`
  return [
    silent.length === 0
      ? pass('organization events', detail)
      : warn(
          'organization events',
          `${detail}; no ${silent.map((name) => `${name}.*`).join(', ')} event came recently`,
          'in the Clerk Dashboard, Webhooks, subscribe to these events, then run clerk-session-sync backfill',
        ),
  ]
}
