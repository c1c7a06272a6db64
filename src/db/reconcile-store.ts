/** The database's side of a reconcile, on one connection from beginning to end. */
import type { Change } from '../domain/change.ts'
import type { UserSnapshot } from '../resources/user/change.ts'
import { compareUsers, createSeenIds, findLiving, measureUsers } from '../resources/user/drift.ts'
import type { Repository } from './repository.ts'
import type { Executor } from './statement.ts'

/** Reads on this connection, which nobody else may use meanwhile; writes through the repository. */
export async function createReconcileStore(executor: Executor, repository: Pick<Repository, 'apply'>) {
  const seen = await createSeenIds(executor)
  return {
    measure: () => measureUsers(executor),
    compare: (users: readonly UserSnapshot[]) => compareUsers(executor, users),
    findLiving: (ids: readonly string[]) => findLiving(executor, ids),
    addSeen: seen.add,
    unseen: seen.unseen,
    apply: (changes: Change[]) => repository.apply(changes),
  }
}
