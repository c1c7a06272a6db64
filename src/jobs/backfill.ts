/**
 * Writes every user of a Clerk instance to the table, then organizations and their objects, through the same `apply` as
 * webhooks, so that both can run at the same time.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { BackendApi, UserPage } from '../clerk/backend-api.ts'
import { createLaneWalk, type Lane } from '../clerk/lanes.ts'
import type { Executor } from '../db/statement.ts'
import { deleteState, findState, saveState } from '../db/sync-state.ts'
import type { Change, Outcome } from '../domain/change.ts'
import type { OrganizationsReport } from '../domain/drift.ts'
import { compareUsers } from '../resources/user/drift.ts'
import type { JobDatabase } from './database.ts'
import { reconcileOrganizations } from './organizations.ts'
import { createTurns } from './turns.ts'

/** The progress of a backfill, kept in the database, so that the next run resumes there. */
export interface BackfillPlace {
  /** The ranges that are left to read. */
  lanes: readonly Lane[]
  /** Users written so far, by all runs together. */
  users: number
  startedAt: string
}

export interface BackfillOptions {
  database: JobDatabase
  api: Pick<BackendApi, 'listUsers' | 'countUsers' | 'list' | 'find'>
  /** After it aborts no page is started; the current write is finished. */
  signal: AbortSignal
  /** Called before the first write; must reject if secret key and database belong to different instances. */
  checkIdentity?: (executor: Executor) => Promise<void>
  /** Starts again instead of resuming an earlier run. */
  isRestart?: boolean
  /** Ranges of creation time that are read in parallel; default 8. */
  lanes?: number
  /** How long to wait for another process to finish its backfill; default 0. */
  waitMs?: number
  /** Called if the run resumes an earlier one. */
  onResume?: (place: BackfillPlace) => void
  onPage?: (progress: BackfillProgress) => void
  /** Called for a user that cannot be stored. */
  onRefused?: (id: string, reason: string) => void
  /** Called when a write failed because of the database, and will be retried. */
  onRetry?: (reason: string, waitMs: number) => void
}

export interface BackfillCounts {
  pages: number
  users: number
  created: number
  updated: number
  /** The row already had this state or a newer one, or is a tombstone. */
  unchanged: number
  /** Users that could not be read or stored. */
  refused: number
}

export interface BackfillResult extends BackfillCounts {
  /** False if it was interrupted. */
  isComplete: boolean
  place: BackfillPlace
  /** Users written by earlier runs. */
  resumedAfter: number
  /** The report about organizations and their objects, which follow all users; null if it was interrupted before. */
  organizations: OrganizationsReport | null
}

/** The progress of a run, with the total number of users at Clerk. */
export interface BackfillProgress extends BackfillCounts {
  resumedAfter: number
  total: number
}

export const BACKFILL_JOB = 'backfill'
// More parallel transactions are not faster, because they wait for the same disk.
const WRITES_AT_ONCE = 2
const DATABASE_RETRY_MS = 500

/**
 * Writes every user of Clerk, resuming where the last run stopped; undefined while another process does so. Rejects if Clerk or
 * the database is unavailable for too long: its progress is kept, and it may be run again.
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
  // Progress saved by an earlier version, without lanes, is ignored.
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

/** Null if it was interrupted: the next run starts with organizations, because all users are written. */
async function fillOrganizations({
  database,
  api,
  signal,
}: Pick<BackfillOptions, 'database' | 'api' | 'signal'>): Promise<OrganizationsReport | null> {
  try {
    return await reconcileOrganizations({ database, api, signal, isFixing: true, findsGone: false })
  } catch (error) {
    if (signal.aborted) return null
    throw error
  }
}

/** What a run needs from the database. */
export interface BackfillStore {
  /** Writes in one transaction. Rejects with a `statusCode` of 503 while the database is unavailable. */
  apply(changes: Change[]): Promise<({ outcome: Outcome; created: boolean } | { error: Error })[]>
  savePlace(place: BackfillPlace): Promise<void>
}

export interface WriteOptions extends Pick<BackfillOptions, 'signal' | 'lanes' | 'onRefused' | 'onRetry'> {
  api: Pick<BackendApi, 'listUsers' | 'countUsers'>
  store: BackfillStore
  /** The number of users at Clerk. */
  total: number
  /** The progress of an earlier run. */
  from?: BackfillPlace
  onPage?: (counts: BackfillCounts) => void
  /** How long the database may be unavailable before the run fails. */
  patienceMs?: number
}

/**
 * Reads and writes all users. Progress is saved after each page, for each lane in the order of its pages, so that after a crash
 * at most two pages of each lane are repeated.
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

/** Retries work that the database could not do, because a failover takes some time. */
async function persist<T>({ patienceMs = 60_000, onRetry }: WriteOptions, work: () => Promise<T>): Promise<T> {
  const giveUpAt = performance.now() + patienceMs
  for (;;) {
    try {
      return await work()
    } catch (error) {
      if (!isUnavailable(error) || performance.now() >= giveUpAt) throw error
      onRetry?.('unavailable', DATABASE_RETRY_MS)
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

/** Reports what a backfill would do now, without writing. */
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
