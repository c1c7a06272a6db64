/** `backfill`: every Clerk user into the table. */
import { type BackfillCounts, type BackfillPlace, type BackfillResult, backfill } from '../clerk/backfill.ts'
import type { BulkApi } from '../clerk/bulk-api.ts'
import { readAhead, walkUsers } from '../clerk/walk-users.ts'
import { LEASE_TTL_MS, withLease } from '../db/lease.ts'
import { deleteState, findState, saveState } from '../db/sync-state.ts'
import { compareUsers } from '../resources/user/drift.ts'
import {
  type Context,
  createApi,
  type Database,
  EXIT_DONE,
  EXIT_FAILED,
  EXIT_INTERRUPTED,
  noteRetry,
  withDatabase,
} from './context.ts'
import { bar, count, duration } from './output.ts'

export interface BackfillFlags {
  restart?: boolean
  dryRun?: boolean
}

const JOB = 'backfill'

export async function runBackfill(context: Context, { restart, dryRun }: BackfillFlags): Promise<number> {
  const api = createApi(context)
  return withDatabase(context, async (database) => {
    if (dryRun) return preview(context, api, database)
    const ran = await withLease(database.pool, JOB, () => fill(context, api, database, restart), {
      waitMs: LEASE_TTL_MS + 1_000,
    })
    if (ran) return ran.result
    context.output.note('Another backfill is under way on this database.')
    return EXIT_FAILED
  })
}

async function fill(
  context: Context,
  api: BulkApi,
  { pool, repository }: Database,
  restart: boolean | undefined,
): Promise<number> {
  const { output, signal } = context
  if (restart) await deleteState(pool, JOB)
  const from = await findState<BackfillPlace>(pool, JOB)
  if (from) output.note(`Going on after ${count(from.users)} users, begun ${from.startedAt}; --restart begins anew.`)
  const before = from?.users ?? 0
  const total = await api.countUsers()
  const startedAt = performance.now()
  const result = await backfill({
    api,
    store: { apply: repository.apply, savePlace: (place) => saveState(pool, JOB, place) },
    from,
    signal,
    onPage: (counts) => output.progress(describeProgress(counts, api, { before, total, startedAt })),
    onRefused: (id, reason) => output.note(`${id} could not be stored: ${reason}`),
    onRetry: noteRetry(output, 'PostgreSQL'),
  })
  if (result.isComplete) await deleteState(pool, JOB)
  report(context, api, result, { before, startedAt })
  if (!result.isComplete) return EXIT_INTERRUPTED
  return result.refused > 0 ? EXIT_FAILED : EXIT_DONE
}

interface Run {
  before: number
  total: number
  startedAt: number
}

function describeProgress({ users }: BackfillCounts, { counts }: BulkApi, { before, total, startedAt }: Run): string {
  const seconds = (performance.now() - startedAt) / 1_000
  const left = Math.max(0, total - before - users) / (users / seconds)
  const rates = `${count(users / seconds)} users/s, ${(counts.requests / seconds).toFixed(1)} requests/s`
  return `${bar(before + users, total)}  ${rates}, ${duration(left)} left`
}

function report({ output }: Context, api: BulkApi, result: BackfillResult, { before, startedAt }: Omit<Run, 'total'>) {
  const { place, ...counts } = result
  const seconds = (performance.now() - startedAt) / 1_000
  const { requests, rateLimited, retries } = api.counts
  const usersPerSecond = Math.round(counts.users / seconds)
  const data = { ...counts, resumedAfter: before, requests, rateLimited, retries, seconds, usersPerSecond }
  const { created, updated, unchanged, refused } = counts
  output.result(data, [
    `${count(counts.users)} users in ${duration(seconds)} (${count(usersPerSecond)} a second, ${count(requests)} requests): ` +
      `${count(created)} created, ${count(updated)} updated, ${count(unchanged)} unchanged, ${count(refused)} refused.`,
    ...(before > 0 ? [`${count(before)} had been done before.`] : []),
    ...(result.isComplete ? [] : [`Interrupted after ${count(place.users)} users: run it again to go on from there.`]),
  ])
}

/** What a backfill would do now; nothing is written. */
async function preview({ output, signal }: Context, api: BulkApi, { pool }: Database): Promise<number> {
  const total = await api.countUsers()
  const counts = { users: 0, wouldCreate: 0, wouldUpdate: 0, unchanged: 0, refused: 0 }
  try {
    for await (const { users, ids, unusable } of readAhead(walkUsers(api), 2)) {
      counts.users += ids.length
      counts.refused += unusable.length
      for (const { difference } of await compareUsers(pool, users)) {
        if (difference === 'missing') counts.wouldCreate += 1
        else if (difference === 'stale' || difference === 'different') counts.wouldUpdate += 1
        else counts.unchanged += 1
      }
      output.progress(bar(counts.users, total))
    }
  } catch (error) {
    if (!signal.aborted) throw error
  }
  const { users, wouldCreate, wouldUpdate, unchanged } = counts
  output.result({ isDryRun: true, isComplete: !signal.aborted, ...counts }, [
    `Nothing was written. Of ${count(users)} users a backfill would create ${count(wouldCreate)} and update ` +
      `${count(wouldUpdate)}; ${count(unchanged)} are here already.`,
  ])
  return signal.aborted ? EXIT_INTERRUPTED : EXIT_DONE
}
