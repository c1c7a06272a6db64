/**
 * Repairs lost webhooks: asks Clerk at short intervals which users changed last, and compares the number of users. While nothing
 * changes this takes two requests, and two more if the instance has organizations.
 */
import { type BackendApi, MAX_IDS } from '../clerk/backend-api.ts'
import { hasNoOrganizations, LIST_READERS } from '../clerk/organization-lists.ts'
import { findOldestMessage } from '../db/ledger-types.ts'
import type { ChangeResult } from '../db/repository.ts'
import type { Executor } from '../db/statement.ts'
import { findState, saveState } from '../db/sync-state.ts'
import type { ComparedRow } from '../domain/drift.ts'
import { expectedSince, type Undelivered } from '../domain/silence.ts'
import type { UserDeletion, UserSnapshot } from '../resources/user/change.ts'
import { countCreatedBefore, findNewestVersion } from '../resources/user/creation.ts'
import { compareUsers, findLiving, measureUsers } from '../resources/user/drift.ts'
import { changedSince } from './changed-users.ts'
import { searchByCount } from './count-search.ts'
import type { JobDatabase } from './database.ts'
import { deletionLimit } from './deletion-limit.ts'
import { countLivingObjects, type OrganizationCounts, reconcileOrganizations } from './organizations.ts'

export interface CatchUpOptions {
  database: JobDatabase
  api: Pick<BackendApi, 'listUsers' | 'countUsers' | 'isAbsent' | 'list' | 'find'>
  signal: AbortSignal
  /** Called before the first write; must reject if secret key and database belong to different instances. */
  checkIdentity?: (executor: Executor) => Promise<void>
  /** How long a webhook may be in transit before it counts as lost; default a minute. */
  transitMs?: number
  /** If more users would be deleted, none is; default 50 or a tenth of the users, whichever is more. */
  maxDeletions?: number
  /** Does nothing if the last catch-up started less than this long ago; default 0. */
  notWithinMs?: number
}

/** The result of a catch-up. */
export interface CatchUpReport {
  /** Users that Clerk listed as changed. */
  checked: number
  /** Users that were repaired: their row was missing, older than at Clerk, or deleted at Clerk. */
  healed: Undelivered
  /** Changes that no webhook delivered in time. */
  lost: Undelivered
  /** Whether the number of users differed in two catch-ups in a row, so that the difference was searched for. */
  searched: boolean
  /** The number of users, organizations and the like that were not deleted because they exceed `maxDeletions`. */
  deletionsWithheld: number
  /** The number of organizations, roles, memberships and invitations that were repaired. */
  organizations: number
}

export type CatchUpRun = { state: 'done'; report: CatchUpReport } | { state: 'busy' } | { state: 'recent' }

/** What the next catch-up needs to know. */
export interface CatchUpState {
  startedAt: string
  /** All changes up to this `updated_at` are known, in ms since 1970. */
  through: number
  /** How many more users Clerk counted than the table, at the last catch-up. */
  difference: number
  /** A difference that a search could not repair, and that is not searched for again. */
  accepted: number
  /** `difference` and `accepted` of organizations and memberships (`0 and 2`), and when Clerk was last asked for them (ms). */
  organizations: { difference: string; accepted: string; askedAt: number }
  /** Lost changes of this day (UTC). */
  lost: Undelivered & { day: string }
}

export const CATCH_UP_JOB = 'catch-up'
const TRANSIT_MS = 60_000
// The interval at which Clerk is asked for organizations while there are none.
const NO_ORGANIZATIONS_MS = 120_000
const NOTHING: Undelivered = { created: 0, updated: 0, deleted: 0 }

/**
 * Updates the tables to Clerk's current state. May run beside webhooks and be repeated; one process at a time. Rejects if Clerk
 * or the database cannot be reached; the next catch-up then starts from the same point.
 */
export async function catchUp(options: CatchUpOptions): Promise<CatchUpRun> {
  const { database, notWithinMs = 0 } = options
  const ran = await database.whenAlone(CATCH_UP_JOB, async (taken): Promise<CatchUpRun> => {
    const signal = AbortSignal.any([options.signal, taken])
    const last = await findState<CatchUpState>(database.pool, CATCH_UP_JOB)
    if (last && Date.now() - Date.parse(last.startedAt) < notWithinMs) return { state: 'recent' }
    return { state: 'done', report: await run({ ...options, signal }, last) }
  })
  return ran?.result ?? { state: 'busy' }
}

async function run(options: CatchUpOptions, last: CatchUpState | undefined): Promise<CatchUpReport> {
  const { database, api, signal, transitMs = TRANSIT_MS } = options
  const { pool } = database
  const startedAt = Date.now()
  const settledAt = startedAt - transitMs
  const report: CatchUpReport = {
    checked: 0,
    healed: { ...NOTHING },
    lost: { ...NOTHING },
    searched: false,
    deletionsWithheld: 0,
    organizations: 0,
  }
  const writer = createWriter(options, report)
  const through = last?.through ?? (await findNewestVersion(pool)) ?? Math.min(settledAt, await findNewestAtClerk(api))
  // Changes before the first webhook are not counted as lost, because the endpoint may not have existed.
  const since = Math.max(through, expectedSince(await findOldestMessage(pool), startedAt))
  const noteLost = (kind: keyof Undelivered, at: number) => {
    if (at > since) report.lost[kind] += 1
  }

  let newest = through
  for await (const users of changedSince(api, through)) {
    signal.throwIfAborted()
    report.checked += users.length
    await writer.heal(users, (user, isDelivered) => {
      const { updatedAt } = user.version
      if (updatedAt > settledAt) return
      newest = Math.max(newest, updatedAt)
      if (!isDelivered) noteLost(Number(user.clerkCreatedAt) > through ? 'created' : 'updated', updatedAt)
    })
  }

  const ours = await countCreatedBefore(pool, settledAt)
  let difference = (await api.countUsers({ createdBefore: settledAt })) - ours
  let accepted = last?.accepted ?? 0
  // A difference may be caused by a webhook in transit. If it is the same twice in a row, a change was lost.
  if (difference !== accepted && difference === last?.difference) {
    report.searched = true
    const healedBefore = countOf(report.healed)
    const onUsers = (users: UserSnapshot[]) =>
      writer.heal(users, (user, isDelivered) => {
        if (!isDelivered) noteLost('created', Number(user.clerkCreatedAt))
      })
    await searchByCount({ api, executor: pool, signal, before: settledAt, onUsers, onAbsent: writer.collectAbsent })
    await writer.deleteCollected()
    const left = (await api.countUsers({ createdBefore: settledAt })) - (await countCreatedBefore(pool, settledAt))
    // A difference that the search could not change is accepted, so that the next catch-up does not search again.
    if (left === difference && countOf(report.healed) === healedBefore) accepted = difference
    difference = left
  }
  const organizations = await catchUpOrganizations(options, report, writer, last?.organizations)
  await saveState(pool, CATCH_UP_JOB, {
    startedAt: new Date(startedAt).toISOString(),
    through: newest,
    difference,
    accepted: difference === 0 ? 0 : accepted,
    organizations,
    lost: addLost(last?.lost, report.lost, startedAt),
  } satisfies CatchUpState)
  return report
}

const isApplied = (result: ChangeResult) => !('error' in result) && result.outcome === 'applied'

async function findNewestAtClerk(api: CatchUpOptions['api']): Promise<number> {
  const { users } = await api.listUsers({ orderBy: '-updated_at', limit: 1 })
  return users[0]?.version.updatedAt ?? 0
}

type Writer = ReturnType<typeof createWriter>

function createWriter(options: CatchUpOptions, report: CatchUpReport) {
  const { database, api, checkIdentity } = options
  const { pool, repository } = database
  let isSure = false
  const absent: string[] = []
  let known = 0

  async function beforeWriting(): Promise<void> {
    if (!isSure) await checkIdentity?.(pool)
    isSure = true
  }

  async function deleteAbsent(ids: string[]): Promise<void> {
    // Taken before the request, so that anything newer than the answer takes precedence over the deletion.
    const deletedAt = Date.now()
    const isAbsent = await Promise.all(ids.map((id) => api.isAbsent(id)))
    const gone = ids
      .filter((_, i) => isAbsent[i])
      .map((id): UserDeletion => ({ kind: 'deletion', id, deletedAt, source: 'clerk_api' }))
    const results = await repository.apply(gone.map((user) => ({ user })))
    const deleted = results.filter(isApplied).length
    report.healed.deleted += deleted
    report.lost.deleted += deleted
  }

  return {
    beforeWriting,

    /** Writes users whose row is missing or older. `note` is called for each user, with whether a webhook had delivered its state. */
    async heal(users: UserSnapshot[], note?: (user: UserSnapshot, isDelivered: boolean) => void): Promise<void> {
      if (users.length === 0) return
      const rows = new Map((await compareUsers(pool, users)).map((row) => [row.id, row]))
      const drifting: UserSnapshot[] = []
      for (const user of users) {
        const { difference, version } = rows.get(user.id) as ComparedRow
        const isDrifting = difference === 'missing' || difference === 'stale'
        if (isDrifting) drifting.push(user)
        if (difference !== 'missing') known += 1
        note?.(user, !isDrifting && (difference !== 'same' || version?.eventAt !== null))
      }
      if (drifting.length === 0) return
      await beforeWriting()
      const results = await repository.apply(drifting.map((user) => ({ user })))
      for (const [i, { id }] of drifting.entries()) {
        // A user that cannot be stored is not counted; the next reconcile reports it.
        if (!isApplied(results[i] as ChangeResult)) continue
        report.healed[(rows.get(id) as ComparedRow).difference === 'stale' ? 'updated' : 'created'] += 1
      }
    },

    async collectAbsent(ids: string[]): Promise<void> {
      absent.push(...ids)
    },

    /** Deletes users if Clerk confirms for each that it does not exist, unless there are implausibly many. */
    async deleteCollected(): Promise<void> {
      const living = [...(await findLiving(pool, absent)).keys()]
      if (living.length === 0) return
      const limit = options.maxDeletions ?? deletionLimit((await measureUsers(pool)).living, known > 0)
      if (living.length > limit) {
        report.deletionsWithheld = living.length
        return
      }
      await beforeWriting()
      for (let at = 0; at < living.length; at += MAX_IDS) await deleteAbsent(living.slice(at, at + MAX_IDS))
    },
  }
}

const NO_DIFFERENCE = '0 and 0'
const NONE: OrganizationCounts = { organizations: 0, memberships: 0 }

/**
 * Clerk cannot list organizations and memberships by update time, so only their numbers are compared; if they differ, all lists
 * are compared. A changed role or name does not change a number, nor do a lost removal and a lost join: a reconcile finds them.
 */
async function catchUpOrganizations(
  { database, api, signal, maxDeletions }: CatchUpOptions,
  report: CatchUpReport,
  writer: Writer,
  last = { difference: NO_DIFFERENCE, accepted: NO_DIFFERENCE, askedAt: 0 },
): Promise<CatchUpState['organizations']> {
  const ours = await countLivingObjects(database.pool)
  const hasNone = ours.organizations + ours.memberships === 0
  const askedAt = Date.now()
  if (hasNone && last.difference === NO_DIFFERENCE && askedAt - last.askedAt < NO_ORGANIZATIONS_MS) return last
  const difference = differenceOf(await countAtClerk(api), ours)
  if (difference === last.accepted || difference !== last.difference) return { ...last, difference, askedAt }
  await writer.beforeWriting()
  const found = await reconcileOrganizations({ database, api, signal, isFixing: true, findsGone: true, maxDeletions })
  for (const list of Object.values(found) as (typeof found)['organization'][]) {
    report.organizations += list.missing.repaired + list.stale.repaired + list.gone.repaired
    report.deletionsWithheld += list.deletionsWithheld
  }
  const left = differenceOf(await countAtClerk(api), await countLivingObjects(database.pool))
  const isStuck = left === difference && report.organizations === 0
  return { difference: left, accepted: isStuck ? left : last.accepted, askedAt }
}

const differenceOf = (theirs: OrganizationCounts, ours: OrganizationCounts) =>
  `${theirs.organizations - ours.organizations} and ${theirs.memberships - ours.memberships}`

/** The organizations and memberships at Clerk; none if the instance has organizations turned off. */
async function countAtClerk(api: CatchUpOptions['api']): Promise<OrganizationCounts> {
  try {
    const counted = await api.list(LIST_READERS.organization.path, { limit: 1 })
    if (counted.items.length === 0) return NONE
    const memberships = await api.list(LIST_READERS.membership.path, { limit: 1 })
    return { organizations: counted.total as number, memberships: memberships.total as number }
  } catch (error) {
    if (hasNoOrganizations(error)) return NONE
    throw error
  }
}

const countOf = ({ created, updated, deleted }: Undelivered) => created + updated + deleted

function addLost(before: CatchUpState['lost'] | undefined, lost: Undelivered, nowMs: number): CatchUpState['lost'] {
  const day = new Date(nowMs).toISOString().slice(0, 10)
  const { created, updated, deleted } = before?.day === day ? before : NOTHING
  return {
    day,
    created: created + lost.created,
    updated: updated + lost.updated,
    deleted: deleted + lost.deleted,
  }
}
