import type { Repository } from '../db/repository.ts'

export interface Pruned {
  events: number
  sessions: number
  changes: number
}

/**
 * Deletes old events of the ledger, payloads that are no longer needed, old ended sessions, and old changes of the feed. Only one
 * replica does so at a time.
 */
export async function prune(
  repository: Pick<Repository, 'prune' | 'pruneSessions' | 'pruneChanges' | 'supersede'>,
  retentionDays: number,
  changesRetentionDays: number,
): Promise<Pruned> {
  await repository.supersede()
  return {
    events: await repository.prune(retentionDays),
    sessions: await repository.pruneSessions(retentionDays),
    changes: await repository.pruneChanges(changesRetentionDays),
  }
}
