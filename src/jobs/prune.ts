import type { Repository } from '../db/repository.ts'

export interface Pruned {
  events: number
  sessions: number
}

/** Deletes old events of the ledger, bodies that nobody needs any more, and sessions that have long been over. Of several replicas, one does it. */
export async function prune(
  repository: Pick<Repository, 'prune' | 'pruneSessions' | 'supersede'>,
  retentionDays: number,
): Promise<Pruned> {
  await repository.supersede()
  const events = await repository.prune(retentionDays)
  return { events, sessions: await repository.pruneSessions(retentionDays) }
}
