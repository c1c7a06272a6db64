/** `user <id>` and `sync <id>`: one user, in the tables and at Clerk. */

import type { BackendApi } from '../clerk/backend-api.ts'
import { findUserHistory, type UserHistory } from '../db/user-history.ts'
import type { Change } from '../domain/change.ts'
import type { Difference } from '../domain/drift.ts'
import type { JobDatabase } from '../jobs/database.ts'
import type { UserSnapshot } from '../resources/user/change.ts'
import { compareUsers } from '../resources/user/drift.ts'
import { type Context, createApi, EXIT_DONE, EXIT_FAILED, identityCheck, withDatabase } from './context.ts'
import { columns } from './output.ts'

// Somebody waits for the answer, perhaps in the middle of an outage.
const ATTEMPTS = { maxAttempts: 3 }

/** Prints the row beside Clerk's data, the sessions and the last events. Exit code 1 if row and Clerk differ. */
export async function runUser(context: Context, id: string): Promise<number> {
  return withDatabase(context, async ({ pool }) => {
    const history = await findUserHistory(pool, id)
    const clerk = context.config.CLERK_SECRET_KEY ? await ask(createApi(context, ATTEMPTS), id) : undefined
    const [compared] = clerk ? await compareUsers(pool, [clerk]) : []
    const verdict = describeVerdict(context, history, compared?.difference)
    context.output.result(
      { id, verdict, difference: compared?.difference ?? null, here: history, clerk: clerk ?? null },
      [
        `${id}: ${verdict}`,
        ...(history.row || clerk ? ['', ...columns(sideBySide(history.row, clerk))] : []),
        '',
        'Sessions:',
        ...orNone(history.sessions.map((session) => pick(session, ['id', 'status', 'clerk_updated_at']))),
        '',
        'Events (among the newest 100,000 of the ledger):',
        ...orNone(history.events.map((event) => pick(event, ['received_at', 'type', 'outcome', 'id', 'error']))),
      ],
    )
    const isGone = context.config.CLERK_SECRET_KEY !== undefined && clerk === undefined && isLiving(history)
    const isDrifting = isGone || ['missing', 'stale', 'different', 'newer'].includes(`${compared?.difference}`)
    return isDrifting || (!history.row && !clerk) ? EXIT_FAILED : EXIT_DONE
  })
}

/** Brings one user's row up to date with Clerk. */
export async function runSync(context: Context, id: string): Promise<number> {
  return withDatabase(context, async (database) => {
    const api = createApi(context, ATTEMPTS)
    await identityCheck(context, ATTEMPTS)(database.pool)
    const deletedAt = Date.now() // Taken before the request, so that anything newer than the answer takes precedence over the deletion.
    const clerk = await ask(api, id)
    const change = clerk ? { user: clerk } : { user: { kind: 'deletion', id, deletedAt, source: 'clerk_api' } as const }
    // Nothing is written about a user that neither side knows.
    const isKnown = clerk !== undefined || isLiving(await findUserHistory(database.pool, id))
    const outcome = isKnown ? await write(database, change) : 'unknown to Clerk and here'
    const { row } = await findUserHistory(database.pool, id)
    context.output.result({ id, outcome, row: row ?? null }, [`${id}: ${outcome}`, ...columns(sideBySide(row, clerk))])
    return isKnown ? EXIT_DONE : EXIT_FAILED
  })
}

async function write({ repository }: JobDatabase, change: Change) {
  const [result] = await repository.apply([change])
  if (!result || 'error' in result) throw result?.error
  if (change.user?.kind === 'deletion') return 'missing at Clerk, deleted here'
  if (result.created) return 'created'
  return result.outcome === 'applied' ? 'updated' : 'up to date'
}

/** Undefined only if Clerk confirms twice that the user does not exist, as before any deletion: not listed, and a 404. */
async function ask(api: BackendApi, id: string): Promise<UserSnapshot | undefined> {
  const { users, unusable } = await api.listUsers({ ids: [id] })
  const found = users.find((user) => user.id === id)
  if (found || (unusable.length === 0 && (await api.isAbsent(id)))) return found
  const reasons = [...unusable.map(({ reason }) => reason), 'not listed, but not absent either']
  throw new Error(`Clerk's answer about ${id} cannot be used: ${reasons[0]}`)
}

const isLiving = ({ row }: UserHistory) => row !== undefined && row.deleted_at === null

const VERDICTS: Record<Difference, string> = {
  missing: 'at Clerk, missing here',
  stale: 'older here than at Clerk',
  different: 'of the same version here and at Clerk, but different',
  newer: 'newer here than at Clerk',
  deleted: 'deleted here, still at Clerk',
  same: 'the same here and at Clerk',
}

function describeVerdict({ config }: Context, history: UserHistory, difference: Difference | undefined): string {
  if (difference) return VERDICTS[difference]
  if (!config.CLERK_SECRET_KEY) return 'not compared with Clerk (CLERK_SECRET_KEY is not set)'
  if (!history.row) return 'unknown here and at Clerk'
  return isLiving(history) ? 'here, but missing at Clerk: `sync` deletes it here' : 'deleted here, missing at Clerk'
}

function sideBySide(row: Record<string, unknown> | undefined, clerk: UserSnapshot | undefined): string[][] {
  const { email, emailVerified, firstName, lastName, username, imageUrl, publicMetadata, lastSignInAt } =
    clerk?.profile ?? {}
  const time = (ms: number | null | undefined) => (ms == null ? ms : new Date(ms).toISOString())
  const atClerk: Record<string, unknown> = clerk
    ? {
        email,
        email_verified: emailVerified,
        first_name: firstName,
        last_name: lastName,
        username,
        image_url: imageUrl,
        public_metadata: publicMetadata,
        last_sign_in_at: time(lastSignInAt),
        banned: clerk.banned,
        clerk_created_at: time(clerk.clerkCreatedAt),
        clerk_updated_at: time(clerk.version.updatedAt),
      }
    : {}
  const names = [...new Set([...Object.keys(atClerk), ...Object.keys(row ?? {})])]
  return [['', 'here', 'at Clerk'], ...names.map((name) => [name, show(row?.[name]), show(atClerk[name])])]
}

const orNone = (rows: string[][]) => (rows.length > 0 ? columns(rows) : ['none'])

const show = (value: unknown) =>
  value === undefined ? '' : value === null ? '–' : typeof value === 'object' ? JSON.stringify(value) : String(value)
const pick = (row: Record<string, unknown>, names: readonly string[]) => names.map((name) => show(row[name]))
