/** Compares Clerk with the table in constant memory, and repairs every difference through the same write path as webhooks. */
import { setTimeout as sleep } from 'node:timers/promises'
import { type BackendApi, MAX_IDS, type UserPage } from '../clerk/backend-api.ts'
import { createLaneWalk } from '../clerk/lanes.ts'
import { findLedgerTypes, findOldestMessage } from '../db/ledger-types.ts'
import type { ChangeResult } from '../db/repository.ts'
import type { Executor } from '../db/statement.ts'
import { findState, saveState } from '../db/sync-state.ts'
import {
  type ComparedRow,
  type Difference,
  type DriftKind,
  noDrift,
  noOrganizationsReport,
  type ReconcileReport,
} from '../domain/drift.ts'
import { expectedSince, explainSilence, type LedgerEntry } from '../domain/silence.ts'
import type { Version } from '../domain/version.ts'
import type { UserDeletion, UserSnapshot } from '../resources/user/change.ts'
import { compareUsers, createSeenIds, findLiving, measureUsers } from '../resources/user/drift.ts'
import type { JobDatabase } from './database.ts'
import { deletionLimit } from './deletion-limit.ts'
import { reconcileOrganizations } from './organizations.ts'
import { createTurns } from './turns.ts'

export interface ReconcileOptions {
  database: JobDatabase
  api: Pick<BackendApi, 'listUsers' | 'countUsers' | 'isAbsent' | 'list' | 'find'>
  signal: AbortSignal
  /** Called before anything is compared; must reject if secret key and database belong to different instances. */
  checkIdentity?: (executor: Executor) => Promise<void>
  /** Whether to repair the differences. */
  isFixing: boolean
  /** If more users would be deleted, none is; default 50 or a tenth of the users, whichever is more. */
  maxDeletions?: number
  /** Ranges of creation time that are read in parallel; default 8. */
  lanes?: number
  /** How long Clerk's replicas may take to show a version that a webhook has already delivered; default 5 s. */
  replicaLagMs?: number
  /** How long to wait for another process to finish its reconcile; default 0. */
  waitMs?: number
  /** Does nothing if the last complete repair started less than this long ago; default 0. */
  notWithinMs?: number
  onProgress?: (progress: { checked: number; total: number; drifting: number }) => void
}

export type ReconcileRun =
  | { state: 'done'; report: ReconcileReport; ledger: LedgerEntry[]; silence: string[] }
  /** Another process is running it. */
  | { state: 'busy' }
  /** Another process has just done it. */
  | { state: 'recent'; startedAt: string }

const JOB = 'reconcile'
// Equal to the number of connections of the service's own reconcile.
const CHECKS_AT_ONCE = 2
const SAMPLE = 20

const KIND_OF: Partial<Record<Difference, DriftKind>> = {
  missing: 'missing',
  stale: 'stale',
  different: 'stale',
  newer: 'newer',
}

/**
 * Finds drift and optionally repairs it; reports changes that no webhook delivered. May run beside webhooks and be repeated.
 * Rejects if Clerk or the database is unavailable.
 */
export async function reconcile(options: ReconcileOptions): Promise<ReconcileRun> {
  const { database, isFixing, notWithinMs = 0, waitMs } = options
  const ran = await database.whenAlone(
    JOB,
    async (lost): Promise<ReconcileRun> => {
      const { pool } = database
      const signal = AbortSignal.any([options.signal, lost])
      const last = await findState<ReconcileReport>(pool, JOB)
      if (last && Date.now() - Date.parse(last.startedAt) < notWithinMs) {
        return { state: 'recent', startedAt: last.startedAt }
      }
      await options.checkIdentity?.(pool)
      const ledger = await findLedgerTypes(pool)
      const report = await search(expectedSince(await findOldestMessage(pool), Date.now()), { ...options, signal })
      // Only a complete run that repaired counts for skipping the next one.
      if (isFixing && report.isComplete) await saveState(pool, JOB, report)
      return { state: 'done', report, ledger, silence: explainSilence(ledger, report.undelivered) }
    },
    waitMs,
  )
  return ran?.result ?? { state: 'busy' }
}

/** @param since the time (ms) from which webhooks should have delivered every change */
async function search(since: number, options: ReconcileOptions): Promise<ReconcileReport> {
  const { api, signal, isFixing, lanes, replicaLagMs = 5_000, onProgress } = options
  const { pool, repository } = options.database
  const compare = (users: readonly UserSnapshot[]) => compareUsers(pool, users)
  const findUsers = (ids: readonly string[]) => api.listUsers({ ids, limit: MAX_IDS })
  const seen = await createSeenIds(pool)
  const { now, living } = await measureUsers(pool)
  const report: ReconcileReport = {
    startedAt: new Date().toISOString(),
    isComplete: false,
    checked: 0,
    drift: { missing: noDrift(), stale: noDrift(), newer: noDrift(), gone: noDrift() },
    deletedHere: 0,
    unusable: [],
    failures: [],
    deletionsWithheld: 0,
    undelivered: { created: 0, updated: 0, deleted: 0 },
    undeliveredSince: new Date(since).toISOString(),
    organizations: noOrganizationsReport(),
  }
  const { drift } = report
  let known = 0

  function note(kind: DriftKind, ids: readonly string[]): void {
    drift[kind].count += ids.length
    drift[kind].sample.push(...ids.slice(0, SAMPLE - drift[kind].sample.length))
  }

  /** Reports the written users that are still different, with the reason. */
  function noteFailures(
    changes: readonly { id: string }[],
    results: readonly ChangeResult[],
    isRepaired: (id: string) => boolean,
  ) {
    for (const [i, { id }] of changes.entries()) {
      if (isRepaired(id) || report.failures.length === SAMPLE) continue
      const result = results[i]
      const reason = result && 'error' in result ? result.error.message : 'the row has a newer state of the user'
      report.failures.push({ id, reason })
    }
  }

  /** Counts a change that no webhook delivered: the row then has no event time. */
  function noteSilence(user: UserSnapshot, { difference, version }: ComparedRow): void {
    if (user.version.updatedAt < since) return
    const isDelivered = difference === 'newer' || difference === 'deleted' || difference === 'different'
    if (isDelivered || (difference === 'same' && version?.eventAt !== null)) return
    report.undelivered[Number(user.clerkCreatedAt) >= since ? 'created' : 'updated'] += 1
  }

  /** Reports drifting users and, when fixing, writes them and checks the result. */
  async function settle(users: UserSnapshot[], rows: readonly ComparedRow[]): Promise<void> {
    const kinds = new Map(rows.map(({ id, difference }) => [id, KIND_OF[difference]]))
    const drifting = users.filter(({ id }) => kinds.get(id) !== undefined)
    for (const { id } of drifting) note(kinds.get(id) as DriftKind, [id])
    if (!isFixing || drifting.length === 0) return
    const results = await repository.apply(drifting.map((user) => ({ user })))
    const repaired = new Set<string>()
    for (const { id, difference } of await compare(drifting)) {
      const kind = kinds.get(id) as DriftKind
      // A row that was behind may be ahead after a webhook, which is fine. A row that is still ahead could not be reset.
      const isRepaired = KIND_OF[difference] === undefined || (difference === 'newer' && kind !== 'newer')
      if (!isRepaired) continue
      drift[kind].repaired += 1
      repaired.add(id)
    }
    noteFailures(drifting, results, (id) => repaired.has(id))
  }

  /** Compares again, reading the rows before Clerk, so that Clerk's answer is newer than the row. */
  async function lookAgain(ids: readonly string[], mayWait = true): Promise<void> {
    const versions = await findLiving(pool, ids)
    const { users } = await findUsers(ids)
    const corrected = users.map((user) => ({ ...user, corrects: versions.get(user.id) }))
    const rows = await compare(corrected)
    const isFresh = rows.some(({ difference, version }) => {
      return difference === 'newer' && Math.abs(Date.now() - (version as Version).updatedAt) < replicaLagMs
    })
    if (!isFresh || !mayWait) return settle(corrected, rows)
    await sleep(replicaLagMs, undefined, { signal })
    return lookAgain(ids, false)
  }

  async function reconcilePage(users: UserSnapshot[], ids: readonly string[]): Promise<void> {
    await seen.add(ids)
    const rows = new Map((await compare(users)).map((row) => [row.id, row]))
    const doubtful: string[] = []
    const certain: UserSnapshot[] = []
    for (const user of users) {
      const row = rows.get(user.id) as ComparedRow
      noteSilence(user, row)
      if (row.difference !== 'missing') known += 1
      if (row.difference === 'deleted') report.deletedHere += 1
      if (row.difference === 'newer' || row.difference === 'different') doubtful.push(user.id)
      else certain.push(user)
    }
    await settle(certain, [...rows.values()])
    for (const batch of batchesOf(doubtful)) await lookAgain(batch)
  }

  /** Yields ids that Clerk did not list and that it confirms not to exist. */
  async function* gone(): AsyncGenerator<string[]> {
    for await (const unseen of seen.unseen(now)) {
      for (const ids of batchesOf(unseen)) {
        const { users, ids: found } = await findUsers(ids)
        // Users that do exist after all are compared too.
        await reconcilePage(users, found)
        const absent = ids.filter((id) => !found.includes(id))
        const livingNow = await findLiving(pool, absent)
        yield absent.filter((id) => livingNow.has(id))
      }
    }
  }

  async function deleteGone(): Promise<void> {
    for await (const ids of gone()) {
      // Taken before the request, so that anything newer than the answer takes precedence over the deletion.
      const deletedAt = Date.now()
      const isAbsent = await Promise.all(ids.map((id) => api.isAbsent(id)))
      const absent = ids
        .filter((_, index) => isAbsent[index])
        .map((id): UserDeletion => ({ kind: 'deletion', id, deletedAt, source: 'clerk_api' }))
      const results = await repository.apply(absent.map((user) => ({ user })))
      const livingNow = await findLiving(
        pool,
        absent.map(({ id }) => id),
      )
      drift.gone.repaired += absent.length - livingNow.size
      noteFailures(absent, results, (id) => !livingNow.has(id))
    }
  }

  try {
    const total = await api.countUsers()
    const checking = createTurns(CHECKS_AT_ONCE)
    async function take({ users, unusable, ids }: UserPage): Promise<void> {
      await checking(() => reconcilePage(users, ids))
      report.checked += ids.length
      report.unusable.push(...unusable.map(({ id }) => id).slice(0, SAMPLE - report.unusable.length))
      onProgress?.({ checked: report.checked, total, drifting: countOf(drift) })
    }
    await createLaneWalk({ api, total, lanes, signal, take }).run()
    signal.throwIfAborted()
    for await (const ids of gone()) note('gone', ids)
    report.undelivered.deleted = drift.gone.count
    const limit = options.maxDeletions ?? deletionLimit(living, known > 0)
    if (drift.gone.count > limit) report.deletionsWithheld = drift.gone.count
    else if (isFixing) await deleteGone()
    await seen.clear()
    const { database, maxDeletions } = options
    report.organizations = await reconcileOrganizations({
      database,
      api,
      signal,
      isFixing,
      findsGone: true,
      maxDeletions,
    })
    report.isComplete = true
  } catch (error) {
    if (!signal.aborted) throw error
  }
  return report
}

const countOf = (drift: ReconcileReport['drift']) => Object.values(drift).reduce((sum, { count }) => sum + count, 0)

function* batchesOf(ids: readonly string[]): Generator<string[]> {
  for (let start = 0; start < ids.length; start += MAX_IDS) yield ids.slice(start, start + MAX_IDS)
}
