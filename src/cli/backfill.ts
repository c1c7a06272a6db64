/** `backfill`: copies every Clerk user into the table. */
import type { BackendApi } from '../clerk/backend-api.ts'
import { findChangesStatus } from '../db/changes/status.ts'
import { SILENT } from '../db/changes/trigger-sql.ts'
import type { OrganizationsReport } from '../domain/drift.ts'
import {
  type BackfillOptions,
  type BackfillProgress,
  type BackfillResult,
  backfill,
  previewBackfill,
} from '../jobs/backfill.ts'
import type { JobDatabase } from '../jobs/database.ts'
import {
  type Context,
  createApi,
  EXIT_DONE,
  EXIT_FAILED,
  EXIT_INTERRUPTED,
  EXIT_WRONG_USAGE,
  identityCheck,
  LOCK_WAIT_MS,
  noteRetry,
  withDatabase,
} from './context.ts'
import { bar, count, countOf, duration } from './output.ts'

export interface BackfillFlags {
  restart?: boolean
  dryRun?: boolean
  lanes?: number
  /** Includes its users in the change feed. */
  emit?: boolean
}

export async function runBackfill(context: Context, { restart, dryRun, emit, lanes }: BackfillFlags): Promise<number> {
  const api = createApi(context)
  return withDatabase(
    context,
    async (database) => {
      if (emit && (await findChangesStatus(database.pool)).unrecorded.length > 0) {
        context.output.note(
          '--emit needs the change feed, which is off: set CHANGES=true, and run clerk-session-sync migrate',
        )
        return EXIT_WRONG_USAGE
      }
      return dryRun
        ? preview(context, api, database, lanes)
        : fill(context, api, database, { isRestart: restart, lanes })
    },
    // Silent by default, so that consumers do not send a welcome mail to every existing user.
    { cause: emit ? 'backfill' : SILENT },
  )
}

type FillOptions = Pick<BackfillOptions, 'isRestart' | 'lanes'>

async function fill(context: Context, api: BackendApi, database: JobDatabase, options: FillOptions) {
  const { output, signal } = context
  const startedAt = performance.now()
  const result = await backfill({
    database,
    api,
    signal,
    checkIdentity: identityCheck(context),
    ...options,
    waitMs: LOCK_WAIT_MS,
    onResume: ({ users, startedAt }) =>
      output.note(`Resuming after ${countOf(users, 'user')}, started ${startedAt}; --restart starts again.`),
    onPage: (progress) => {
      const seconds = secondsSince(startedAt)
      output.progress(describeProgress(progress, api, seconds), { ...progress, ...api.counts, seconds })
    },
    onRefused: (id, reason) => output.note(`${id} could not be stored: ${reason}`),
    onRetry: noteRetry(output, 'PostgreSQL'),
  })
  if (!result) {
    output.note('Another backfill is running on this database.')
    return EXIT_FAILED
  }
  report(output, api, result, secondsSince(startedAt))
  if (!result.isComplete) return EXIT_INTERRUPTED
  return result.refused > 0 ? EXIT_FAILED : EXIT_DONE
}

const secondsSince = (startedAt: number) => (performance.now() - startedAt) / 1_000

function describeProgress({ users, resumedAfter, total }: BackfillProgress, { counts }: BackendApi, seconds: number) {
  const done = resumedAfter + users
  const left = Math.max(0, total - done) / (users / seconds)
  const rates = `${count(users / seconds)} users/s, ${(counts.requests / seconds).toFixed(1)} requests/s`
  return `${bar(done, total)}  ${rates}, ${duration(left)} left`
}

function report(output: Context['output'], api: BackendApi, result: BackfillResult, seconds: number): void {
  const { place, ...counts } = result
  const { requests, rateLimited, retries } = api.counts
  const usersPerSecond = Math.round(counts.users / seconds)
  const { created, updated, unchanged, refused, resumedAfter } = counts
  output.result({ ...counts, requests, rateLimited, retries, seconds, usersPerSecond }, [
    `${countOf(counts.users, 'user')} in ${duration(seconds)} (${count(usersPerSecond)} a second, ${countOf(requests, 'request')}): ` +
      `${count(created)} created, ${count(updated)} updated, ${count(unchanged)} unchanged, ${count(refused)} refused.`,
    ...(resumedAfter > 0 ? [`${count(resumedAfter)} had been copied by an earlier run.`] : []),
    ...(result.organizations ? [describeOrganizations(result.organizations)] : []),
    ...(result.isComplete ? [] : [`Interrupted after ${countOf(place.users, 'user')}: run it again to resume.`]),
  ])
}

const describeOrganizations = ({ organization, role, membership, invitation }: OrganizationsReport) =>
  `Also ${countOf(organization.checked, 'organization')}, ${countOf(role.checked, 'role')}, ` +
  `${countOf(membership.checked, 'membership')} and ${countOf(invitation.checked, 'invitation')}.`

async function preview({ output, signal }: Context, api: BackendApi, database: JobDatabase, lanes?: number) {
  const onPage = (users: number, total: number) => output.progress(bar(users, total), { users, total })
  const result = await previewBackfill({ database, api, signal, lanes, onPage })
  const { users, wouldCreate, wouldUpdate, unchanged, isComplete } = result
  output.result({ isDryRun: true, ...result }, [
    `Nothing was written. Of ${countOf(users, 'user')} a backfill would create ${count(wouldCreate)} and update ` +
      `${count(wouldUpdate)}; ${count(unchanged)} are up to date.`,
  ])
  return isComplete ? EXIT_DONE : EXIT_INTERRUPTED
}
