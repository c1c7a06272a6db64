/** `reconcile`: Clerk against the table, and what no webhook said. */
import { reconcile } from '../clerk/reconcile.ts'
import { LEASE_TTL_MS, withLease } from '../db/lease.ts'
import { findLedgerTypes, findOldestMessage } from '../db/ledger-types.ts'
import { createReconcileStore } from '../db/reconcile-store.ts'
import { saveState } from '../db/sync-state.ts'
import { DRIFT_KINDS, type DriftKind, type ReconcileReport, remainingDrift } from '../domain/drift.ts'
import { expectedSince, explainSilence, type LedgerEntry } from '../domain/silence.ts'
import { EVENT_TYPES } from '../resources/index.ts'
import { type Context, createApi, EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED, withDatabase } from './context.ts'
import { bar, columns, count } from './output.ts'

export interface ReconcileFlags {
  fix?: boolean
  maxDeletions?: number
}

const JOB = 'reconcile'

export async function runReconcile(context: Context, { fix = false, maxDeletions }: ReconcileFlags): Promise<number> {
  const { output, signal } = context
  const api = createApi(context)
  return withDatabase(context, async ({ pool, repository }) => {
    const ran = await withLease(
      pool,
      JOB,
      async () => {
        const ledger = await findLedgerTypes(pool)
        const total = await api.countUsers()
        const report = await reconcile({
          api,
          store: await createReconcileStore(pool, repository),
          signal,
          isFixing: fix,
          expectedSince: expectedSince(await findOldestMessage(pool), Date.now()),
          maxDeletions,
          onProgress: (checked, drifting) => output.progress(`${bar(checked, total)}, ${count(drifting)} drifting`),
        })
        // The service skips its own run after one that was whole and repaired what it found, and after no other.
        if (fix && report.isComplete) await saveState(pool, JOB, report)
        return { report, ledger }
      },
      { waitMs: LEASE_TTL_MS + 1_000 },
    )
    if (!ran) {
      output.note('Another reconcile is under way on this database.')
      return EXIT_FAILED
    }
    const { report, ledger } = ran.result
    const remaining = remainingDrift(report)
    const silence = explainSilence(ledger, report.undelivered)
    output.result({ ...report, remaining, ledger, silence, requests: api.counts.requests }, [
      ...describeDrift(report, fix),
      '',
      ...describeSilence(report, ledger, silence),
    ])
    if (!report.isComplete) return EXIT_INTERRUPTED
    return remaining > 0 || report.unusable.length > 0 ? EXIT_FAILED : EXIT_DONE
  })
}

const MEANING: Record<DriftKind, string> = {
  missing: 'missing here',
  stale: 'stale here',
  newer: 'newer here than at Clerk',
  gone: 'gone at Clerk',
}
const SHOWN = 5

function describeDrift(report: ReconcileReport, isFixing: boolean): string[] {
  const { checked, drift, deletedHere, unusable, deletionsWithheld, isComplete } = report
  const rows = DRIFT_KINDS.map((kind) => {
    const { count: found, repaired, sample } = drift[kind]
    const more = found > SHOWN ? ', …' : ''
    const ids = sample.slice(0, SHOWN).join(', ') + more
    return [`  ${MEANING[kind]}`, count(found), ...(isFixing ? [`${count(repaired)} repaired`] : []), ids]
  })
  return [
    `${count(checked)} users of Clerk compared with the table${isComplete ? '' : ', then interrupted'}:`,
    ...columns(rows),
    ...(deletedHere > 0 ? [`  ${count(deletedHere)} deleted here are still listed by Clerk; they stay deleted.`] : []),
    ...(unusable.length > 0 ? [`  Clerk's answer could not be read for ${unusable.join(', ')}.`] : []),
    ...(deletionsWithheld > 0
      ? [
          `  ${count(deletionsWithheld)} are so many that nothing is deleted: is CLERK_SECRET_KEY of this instance? ` +
            `If they are really gone: --fix --max-deletions ${deletionsWithheld}`,
        ]
      : []),
    ...(!isFixing && remainingDrift(report) > 0 ? ['  Repair with: clerk-session-sync reconcile --fix'] : []),
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
    `Not delivered by any webhook since ${undeliveredSince}: ${count(undelivered.created)} created, ` +
      `${count(undelivered.updated)} updated, ${count(undelivered.deleted)} deleted.`,
    ...columns(
      types.map((type) => [`  ${type}`, `last came ${byType.get(type)?.lastReceivedAt.toISOString() ?? 'not lately'}`]),
    ),
    ...findings.map((finding) => `- ${finding}`),
  ]
}
