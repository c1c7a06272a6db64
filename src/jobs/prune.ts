import type { Repository } from '../db/repository.ts'

export interface Pruned {
  events: number
  sessions: number
}

/** Deletes old events of the ledger, and sessions that have long been over. Of several replicas, one does it. */
export async function prune(
  repository: Pick<Repository, 'prune' | 'pruneSessions'>,
  retentionDays: number,
): Promise<Pruned> {
  const events = await repository.prune(retentionDays)
  return { events, sessions: await repository.pruneSessions(retentionDays) }
}
