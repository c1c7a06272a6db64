/** The Clerk instance whose users the tables hold: stored at the first start that knows it, and checked from then on. */
import type { Executor } from './statement.ts'
import { deleteState, findState, keepState, saveState } from './sync-state.ts'

const JOB = 'instance'

/** The id of the instance; undefined if none was stored. */
export async function findInstanceId(executor: Executor): Promise<string | undefined> {
  return (await findState<{ id: string }>(executor, JOB))?.id
}

/** Stores the id unless there is one, and resolves to the stored id, because another replica may have been first. */
export async function rememberInstanceId(executor: Executor, id: string): Promise<string> {
  await keepState(executor, JOB, { id })
  return (await findInstanceId(executor)) as string
}

/** Assigns the database to another instance; without an id the next start stores its own. */
export const adoptInstanceId = (executor: Executor, id: string | undefined): Promise<void> =>
  id === undefined ? deleteState(executor, JOB) : saveState(executor, JOB, { id })
