/**
 * Compares Clerk's organizations, roles, memberships and invitations with the tables, and repairs them through the same write path
 * as webhooks. Lists with offsets skip an item if an earlier one is deleted meanwhile, so they are read until two passes agree.
 */
import { createHash } from 'node:crypto'
import type { BackendApi } from '../clerk/backend-api.ts'
import {
  hasNoOrganizations,
  isGone,
  type KnownObject,
  LIST_KINDS,
  LIST_READERS,
  type ListKind,
  readList,
} from '../clerk/organization-lists.ts'
import { sql } from '../db/drizzle.ts'
import { type Executor, statement } from '../db/statement.ts'
import { type ListedRows, listedRows } from '../db/versioned-drift.ts'
import type { Change } from '../domain/change.ts'
import { noOrganizationsReport, type OrganizationsReport } from '../domain/drift.ts'
import type { Versioned } from '../domain/versioned.ts'
import { organizationInvitations } from '../resources/invitation/table.ts'
import { organizationMemberships } from '../resources/membership/table.ts'
import { organizations } from '../resources/organization/table.ts'
import { organizationRoles } from '../resources/role/table.ts'
import { createSeenIds, measureUsers } from '../resources/user/drift.ts'
import type { JobDatabase } from './database.ts'
import { deletionLimit } from './deletion-limit.ts'

export interface OrganizationsOptions {
  database: Pick<JobDatabase, 'pool' | 'repository'>
  api: Pick<BackendApi, 'list' | 'find'>
  signal: AbortSignal
  /** Writes objects that are missing or stale. */
  isFixing: boolean
  /** Also looks for objects that no longer exist at Clerk; a backfill does not need it. */
  findsGone: boolean
  /** If more objects of one kind would be deleted, none is; default 50 or a tenth, whichever is more. */
  maxDeletions?: number
  onProgress?: (kind: ListKind, checked: number) => void
}

const ROWS: Record<ListKind, ListedRows> = {
  organization: listedRows('organizations', organizations),
  role: listedRows('roles', organizationRoles),
  membership: listedRows('memberships', organizationMemberships),
  invitation: listedRows('invitations', organizationInvitations),
}

/** How many there are. */
export interface OrganizationCounts {
  organizations: number
  memberships: number
}

const countObjects = statement<OrganizationCounts & Record<string, unknown>>(
  'organizations_and_memberships_count',
  (t) => sql`select (select count(*) from ${t(organizations)} where deleted_at is null)::int as organizations,
    (select count(*) from ${t(organizationMemberships)} where ended_at is null)::int as memberships`,
)

/** The organizations and memberships in the tables that have not ended. */
export async function countLivingObjects(executor: Executor): Promise<OrganizationCounts> {
  const [row] = await countObjects(executor)
  return row as OrganizationCounts
}

const MAX_PASSES = 6
const SAMPLE = 20

/**
 * Compares every list with its table. May run beside webhooks and be repeated; one job at a time. Does nothing if the instance
 * has no organizations. Rejects if Clerk or the database is unavailable.
 */
export async function reconcileOrganizations(options: OrganizationsOptions): Promise<OrganizationsReport> {
  const report = noOrganizationsReport()
  for (const kind of LIST_KINDS) {
    try {
      await reconcileList(kind, report, options)
    } catch (error) {
      if (!hasNoOrganizations(error)) throw error
      if (kind === 'organization') break
      // Such as a secret key that may not read roles. The other lists are still compared.
      report[kind].unusable.push(`the list of ${kind}s`)
    }
    // Without organizations the other lists are skipped; roles alone do not matter, because every instance has some.
    const { checked, gone } = report.organization
    if (checked + gone.count === 0) break
  }
  return report
}

async function reconcileList(
  kind: ListKind,
  report: OrganizationsReport,
  options: OrganizationsOptions,
): Promise<void> {
  const { database, api, signal, isFixing, onProgress } = options
  const { pool, repository } = database
  const seen = options.findsGone ? await createSeenIds(pool) : undefined
  // From PostgreSQL's clock, which also dates the rows.
  const { now: startedAt } = await measureUsers(pool)
  const found = report[kind]
  const rows = ROWS[kind]

  async function reconcilePage(changes: Change[]): Promise<void> {
    const states = changes.map((change) => change[kind] as Versioned)
    const differences = await rows.compare(pool, states)
    const drifting = changes.filter((_, i) => isDrift(differences.get((states[i] as Versioned).id)))
    for (const change of drifting) {
      const { id } = change[kind] as Versioned
      const drift = found[differences.get(id) as 'missing' | 'stale']
      drift.count += 1
      if (drift.sample.length < SAMPLE) drift.sample.push(id)
    }
    if (!isFixing || drifting.length === 0) return
    const results = await repository.apply(drifting)
    for (const [i, result] of results.entries()) {
      if ('error' in result) throw result.error
      const { id } = (drifting[i] as Change)[kind] as Versioned
      found[differences.get(id) as 'missing' | 'stale'].repaired += 1
    }
  }

  async function readOnce(isFirst: boolean): Promise<{ digest: string; isWhole: boolean }> {
    const hash = createHash('sha256')
    let isWhole = false
    // An object that only an earlier pass listed may have been deleted since.
    if (!isFirst) await seen?.clear()
    for await (const { changes, ids, unusable, isWhole: isOne } of readList(api, kind)) {
      signal.throwIfAborted()
      isWhole = isOne
      for (const id of ids) hash.update(`${id}\n`)
      await seen?.add(ids)
      // Without fixing, only the first pass compares: a later one would count the same drift again. When fixing, later passes find it repaired.
      if (isFirst || isFixing) await reconcilePage(changes)
      if (!isFirst) continue
      found.checked += ids.length
      found.unusable.push(...unusable.slice(0, SAMPLE - found.unusable.length))
      onProgress?.(kind, found.checked)
    }
    return { digest: hash.digest('hex'), isWhole }
  }

  let last = await readOnce(true)
  // A list of a single page cannot have shifted.
  for (let pass = 1; !last.isWhole && pass < MAX_PASSES; pass += 1) {
    const next = await readOnce(false)
    const isSame = next.digest === last.digest
    last = next
    if (isSame) break
  }
  if (!seen) return
  await reconcileGone(kind, report, options, startedAt)
  await seen.clear()
}

const isDrift = (difference: string | undefined) => difference === 'missing' || difference === 'stale'

/** Handles rows that no list contained, after asking Clerk for each whether it exists. */
async function reconcileGone(
  kind: ListKind,
  report: OrganizationsReport,
  { database, api, isFixing, maxDeletions, signal }: OrganizationsOptions,
  startedAt: number,
): Promise<void> {
  const { pool, repository } = database
  const found = report[kind]
  const limit = maxDeletions ?? deletionLimit(await ROWS[kind].countLiving(pool))
  const gone: { known: KnownObject; askedAt: number }[] = []
  for await (const known of ROWS[kind].unseen(pool, startedAt)) {
    signal.throwIfAborted()
    const askedAt = Date.now()
    if (!(await isGone(api, kind, known))) continue
    found.gone.count += 1
    if (found.gone.sample.length < SAMPLE) found.gone.sample.push(known.id)
    if (gone.length <= limit) gone.push({ known, askedAt })
  }
  if (found.gone.count > limit) {
    found.deletionsWithheld = found.gone.count
    return
  }
  if (!isFixing || gone.length === 0) return
  const results = await repository.apply(gone.map(({ known, askedAt }) => LIST_READERS[kind].missing(known, askedAt)))
  found.gone.repaired += results.filter((result) => !('error' in result)).length
}
