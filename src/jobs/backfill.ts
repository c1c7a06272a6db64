/**
 * Writes every user of a Clerk instance to the table, then organizations and what belongs to them, through the same `apply` as
 * webhooks, so that both may run at the same time.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { BackendApi, UserPage } from '../clerk/backend-api.ts'
import { createLaneWalk, type Lane } from '../clerk/lanes.ts'
import type { Executor } from '../db/statement.ts'
import { deleteState, findState, saveState } from '../db/sync-state.ts'
import type { Change, Outcome } from '../domain/change.ts'
import type { OrganizationsReport } from '../domain/organization-drift.ts'
import { compareUsers } from '../resources/user/drift.ts'
import type { JobDatabase } from './database.ts'
import { checkOrganizations } from './organizations.ts'
import { createTurns } from './turns.ts'

/** Where a backfill is; kept in the database, so that the next one goes on from there. */
export interface BackfillPlace {
  /** What is left to read. */
  lanes: readonly Lane[]
  /** Users done so far, by all runs together. */
  users: number
  startedAt: string
}

export interface BackfillOptions {
  database: JobDatabase
  api: Pick<BackendApi, 'listUsers' | 'countUsers' | 'list' | 'find'>
  /** No page is begun after it; what is being written is finished. */
  signal: AbortSignal
  /** Called before anything is written: rejects where the secret key is of another instance than the database. */
  checkIdentity?: (executor: Executor) => Promise<void>
  /** Begins anew, wherever an earlier run stopped. */
  isRestart?: boolean
  /** Ranges of creation time that are read side by side; default 8. */
  lanes?: number
  /** How long another process may take to end its backfill; default 0. */
  waitMs?: number
  /** Called when the run goes on where an earlier one stopped. */
  onResume?: (place: BackfillPlace) => void
  onPage?: (progress: BackfillProgress) => void
  /** Called for a user that cannot be stored. */
  onRefused?: (id: string, reason: string) => void
  /** Called when the database is in trouble, and the write is tried again. */
  onRetry?: (reason: string, waitMs: number) => void
}

export interface BackfillCounts {
  pages: number
  users: number
  created: number
  updated: number
  /** Already here, in this state or a newer one, or deleted here. */
  unchanged: number
  /** Users that could not be read or stored. */
  refused: number
}

export interface BackfillResult extends BackfillCounts {
  /** False when it was interrupted. */
  isComplete: boolean
  place: BackfillPlace
  /** Users done by the runs before. */
  resumedAfter: number
  /** What came of organizations, roles, memberships and invitations, after all users; null when it was interrupted before. */
  organizations: OrganizationsReport | null
}

/** How far a run is, with the number of users that Clerk has in all. */
export interface BackfillProgress extends BackfillCounts {
  resumedAfter: number
  total: number
}

export const BACKFILL_JOB = 'backfill'
// More transactions at once do not write more: they wait for the same disk.
const WRITES_AT_ONCE = 2
const DATABASE_RETRY_MS = 500

/**
 * Writes every user of Clerk, from where the last run stopped; undefined while another process does so. Rejects when Clerk or
 * the database cannot be had for long: the place is kept then, and it may be run again.
 */
export async function backfill(options: BackfillOptions): Promise<BackfillResult | undefined> {
  const ran = await options.database.whenAlone(
    BACKFILL_JOB,
    (lost) => resume({ ...options, signal: AbortSignal.any([options.signal, lost]) }),
    options.waitMs,
  )
  return ran?.result
}

async function resume({
  database,
  api,
  isRestart,
  checkIdentity,
  ...options
}: BackfillOptions): Promise<BackfillResult> {
  const { pool, repository } = database
  const total = await api.countUsers()
  await checkIdentity?.(pool)
  if (isRestart) await deleteState(pool, BACKFILL_JOB)
  const saved = await findState<Partial<BackfillPlace>>(pool, BACKFILL_JOB)
  // A place of an earlier version, which had no lanes, is not gone on from.
  const from = saved?.lanes ? (saved as BackfillPlace) : undefined
  if (from) options.onResume?.(from)
  const resumedAfter = from?.users ?? 0
  const result = await writePages({
    ...options,
    api,
    total,
    from,
    store: { apply: repository.apply, savePlace: (place) => saveState(pool, BACKFILL_JOB, place) },
    onPage: (counts) => options.onPage?.({ ...counts, resumedAfter, total }),
  })
  const organizations = result.isComplete ? await fillOrganizations({ database, api, ...options }) : null
  const isComplete = organizations !== null
  if (isComplete) await deleteState(pool, BACKFILL_JOB)
  return { ...result, isComplete, resumedAfter, organizations }
}

/** Null when it was interrupted: the next run begins with it, since all users are done. */
async function fillOrganizations({
  database,
  api,
  signal,
}: Pick<BackfillOptions, 'database' | 'api' | 'signal'>): Promise<OrganizationsReport | null> {
  try {
    return await checkOrganizations({ database, api, signal, isFixing: true, findsGone: false })
  } catch (error) {
    if (signal.aborted) return null
    throw error
  }
}

/** What a run needs of the database. */
export interface BackfillStore {
  /** In one transaction; rejects with a `statusCode` of 503 while the database is in trouble. */
  apply(changes: Change[]): Promise<({ outcome: Outcome; created: boolean } | { error: Error })[]>
  savePlace(place: BackfillPlace): Promise<void>
}

export interface WriteOptions extends Pick<BackfillOptions, 'signal' | 'lanes' | 'onRefused' | 'onRetry'> {
  api: Pick<BackendApi, 'listUsers' | 'countUsers'>
  store: BackfillStore
  /** How many users Clerk has. */
  total: number
  /** Where an earlier run stopped. */
  from?: BackfillPlace
  onPage?: (counts: BackfillCounts) => void
  /** How long the database may be in trouble before the run gives up. */
  patienceMs?: number
}

/**
 * Walks all users and writes them. The place is kept after each page, for each lane in the order of its pages, so that a run
 * that is cut off repeats a page or two of each lane at most.
 */
export async function writePages(
  options: WriteOptions,
): Promise<Omit<BackfillResult, 'resumedAfter' | 'organizations'>> {
  const { api, store, signal, total, lanes, onPage, onRefused } = options
  const counts: BackfillCounts = { pages: 0, users: 0, created: 0, updated: 0, unchanged: 0, refused: 0 }
  const { startedAt, users: usersBefore, lanes: from } = options.from ?? newPlace()
  const writing = createTurns(WRITES_AT_ONCE)
  const saving = createTurns(1)
  const place = (): BackfillPlace => ({ lanes: walk.left(), users: usersBefore + counts.users, startedAt })

  async function write({ users, unusable, ids }: UserPage): Promise<void> {
    const results = await writing(() => persist(options, () => store.apply(users.map((user) => ({ user })))))
    for (const [index, result] of results.entries()) {
      if (!('error' in result)) counts[kindOf(result)] += 1
      else refuse((users[index] as { id: string }).id, result.error.message)
    }
    for (const { id, reason } of unusable) refuse(id, reason)
    counts.pages += 1
    counts.users += ids.length
  }

  async function keepPlace(): Promise<void> {
    await saving(() => persist(options, () => store.savePlace(place())))
    onPage?.({ ...counts })
  }

  function refuse(id: string, reason: string): void {
    counts.refused += 1
    onRefused?.(id, reason)
  }

  const walk = createLaneWalk({ api, total, lanes, from, signal, take: write, onTaken: keepPlace })
  await walk.run()
  return { ...counts, isComplete: !signal.aborted, place: place() }
}

const newPlace = (): BackfillPlace => ({ lanes: [{}], users: 0, startedAt: new Date().toISOString() })

const kindOf = ({ outcome, created }: { outcome: Outcome; created: boolean }) =>
  created ? 'created' : outcome === 'applied' ? 'updated' : 'unchanged'

const isUnavailable = (error: unknown) => (error as { statusCode?: number }).statusCode === 503

/** A failover takes a while: what the database could not do is tried again. */
async function persist<T>({ patienceMs = 60_000, onRetry }: WriteOptions, work: () => Promise<T>): Promise<T> {
  const giveUpAt = performance.now() + patienceMs
  for (;;) {
    try {
      return await work()
    } catch (error) {
      if (!isUnavailable(error) || performance.now() >= giveUpAt) throw error
      onRetry?.('in trouble', DATABASE_RETRY_MS)
      await sleep(DATABASE_RETRY_MS)
    }
  }
}

export interface BackfillPreview {
  isComplete: boolean
  users: number
  wouldCreate: number
  wouldUpdate: number
  unchanged: number
  refused: number
}

/** What a backfill would do now; nothing is written. */
export async function previewBackfill({
  database,
  api,
  signal,
  lanes,
  onPage,
}: Pick<BackfillOptions, 'database' | 'signal' | 'lanes'> & {
  api: Pick<BackendApi, 'listUsers' | 'countUsers'>
  onPage: (users: number, total: number) => void
}): Promise<BackfillPreview> {
  const preview = { isComplete: false, users: 0, wouldCreate: 0, wouldUpdate: 0, unchanged: 0, refused: 0 }
  try {
    const total = await api.countUsers()
    const take = async ({ users, ids, unusable }: UserPage) => {
      preview.users += ids.length
      preview.refused += unusable.length
      for (const { difference } of await compareUsers(database.pool, users)) {
        if (difference === 'missing') preview.wouldCreate += 1
        else if (difference === 'stale' || difference === 'different') preview.wouldUpdate += 1
        else preview.unchanged += 1
      }
      onPage(preview.users, total)
    }
    await createLaneWalk({ api, total, lanes, signal, take }).run()
    preview.isComplete = !signal.aborted
  } catch (error) {
    if (!signal.aborted) throw error
  }
  return preview
}
