/** `reconcile`: compares Clerk with the tables, and reports what no webhook delivered. */
import type { ListKind } from '../clerk/organization-lists.ts'
import { DRIFT_KINDS, type DriftKind, type ListReport, type ReconcileReport, remainingDrift } from '../domain/drift.ts'
import type { LedgerEntry } from '../domain/silence.ts'
import { reconcile } from '../jobs/reconcile.ts'
import { EVENT_TYPES } from '../resources/index.ts'
import {
  type Context,
  createApi,
  EXIT_DONE,
  EXIT_FAILED,
  EXIT_INTERRUPTED,
  identityCheck,
  LOCK_WAIT_MS,
  withDatabase,
} from './context.ts'
import { bar, columns, count, countOf } from './output.ts'

export interface ReconcileFlags {
  fix?: boolean
  lanes?: number
  maxDeletions?: number
}

export async function runReconcile(
  context: Context,
  { fix = false, maxDeletions, lanes }: ReconcileFlags,
): Promise<number> {
  const { output, signal } = context
  const api = createApi(context)
  const ran = await withDatabase(context, (database) =>
    reconcile({
      database,
      api,
      signal,
      checkIdentity: identityCheck(context),
      isFixing: fix,
      maxDeletions,
      lanes,
      waitMs: LOCK_WAIT_MS,
      onProgress: (progress) => {
        const { checked, total, drifting } = progress
        output.progress(`${bar(checked, total)}, ${countOf(drifting, 'difference')}`, progress)
      },
    }),
  )
  if (ran.state !== 'done') {
    output.note('Another reconcile is running on this database.')
    return EXIT_FAILED
  }
  const { report, ledger, silence } = ran
  const remaining = remainingDrift(report)
  output.result({ ...report, remaining, ledger, silence, requests: api.counts.requests }, [
    ...describeDrift(report, fix),
    ...describeOrganizations(report, fix),
    '',
    ...describeSilence(report, ledger, silence),
  ])
  if (!report.isComplete) return EXIT_INTERRUPTED
  const unusable = [report, ...Object.values(report.organizations)].flatMap((of) => of.unusable)
  return remaining + unusable.length > 0 ? EXIT_FAILED : EXIT_DONE
}

const MEANING: Record<DriftKind, string> = {
  missing: 'missing here',
  stale: 'stale here',
  newer: 'newer here than at Clerk',
  gone: 'missing at Clerk',
}
const SHOWN = 5

function describeDrift(report: ReconcileReport, isFixing: boolean): string[] {
  const { checked, drift, deletedHere, unusable, failures, deletionsWithheld, isComplete } = report
  const rows = DRIFT_KINDS.map((kind) => {
    const { count: found, repaired, sample } = drift[kind]
    const more = found > SHOWN ? ', …' : ''
    const ids = sample.slice(0, SHOWN).join(', ') + more
    return [`  ${MEANING[kind]}`, count(found), ...(isFixing ? [`${count(repaired)} repaired`] : []), ids]
  })
  return [
    `${countOf(checked, 'user')} of Clerk compared with the table${isComplete ? '' : ', then interrupted'}:`,
    ...columns(rows),
    ...(deletedHere > 0
      ? [
          `  Deleted here, still listed by Clerk: ${countOf(deletedHere, 'user')}, who ${deletedHere === 1 ? 'stays' : 'stay'} deleted.`,
        ]
      : []),
    ...(unusable.length > 0 ? [`  Clerk's answer could not be read for ${unusable.join(', ')}.`] : []),
    ...failures.map(({ id, reason }) => `  ${id} could not be repaired: ${reason}`),
    ...(deletionsWithheld > 0
      ? [
          `  ${count(deletionsWithheld)} are too many, so nothing was deleted: does CLERK_SECRET_KEY belong to this instance? ` +
            `If they were really deleted: --fix --max-deletions ${deletionsWithheld}`,
        ]
      : []),
    ...(!isFixing && remainingDrift(report) > 0 ? ['  Repair with: clerk-session-sync reconcile --fix'] : []),
  ]
}

function describeOrganizations({ organizations }: ReconcileReport, isFixing: boolean): string[] {
  const lists = Object.entries(organizations) as [ListKind, ListReport][]
  const drifting = lists.flatMap(([kind, list]) =>
    (['missing', 'stale', 'gone'] as const)
      .filter((of) => list[of].count > 0)
      .map((of) => [
        `  ${kind}s ${MEANING[of]}`,
        count(list[of].count),
        ...(isFixing ? [`${count(list[of].repaired)} repaired`] : []),
        list[of].sample.slice(0, SHOWN).join(', '),
      ]),
  )
  const unread = lists.flatMap(([, { unusable }]) => unusable)
  const withheld = lists.filter(([, { deletionsWithheld }]) => deletionsWithheld > 0)
  return [
    `${lists.map(([kind, { checked }]) => countOf(checked, kind)).join(', ')} compared with their tables.`,
    ...columns(drifting),
    ...(unread.length > 0 ? [`  Clerk's answer could not be read for ${unread.join(', ')}.`] : []),
    ...withheld.map(
      ([kind, { deletionsWithheld }]) => `  ${count(deletionsWithheld)} ${kind}s are too many, so none was deleted.`,
    ),
  ]
}

function describeSilence(
  { undelivered, undeliveredSince }: ReconcileReport,
  ledger: readonly LedgerEntry[],
  findings: readonly string[],
): string[] {
  const byType = new Map(ledger.map((entry) => [entry.type, entry]))
  const types = [...new Set([...EVENT_TYPES, ...byType.keys()])]
  return [
    `Changes since ${undeliveredSince} that no webhook delivered: ${count(undelivered.created)} created, ` +
      `${count(undelivered.updated)} updated, ${count(undelivered.deleted)} deleted.`,
    'Last webhook of each type, among the newest 100,000 events:',
    ...columns(types.map((type) => [`  ${type}`, byType.get(type)?.lastReceivedAt.toISOString() ?? 'none'])),
    ...findings.map((finding) => `- ${finding}`),
  ]
}
