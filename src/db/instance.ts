/** The Clerk instance whose users the tables hold: written at the first start that knows it, and compared ever after. */
import type { Executor } from './statement.ts'
import { deleteState, findState, keepState, saveState } from './sync-state.ts'

const JOB = 'instance'

/** The id of the instance; undefined while none was ever written. */
export async function findInstanceId(executor: Executor): Promise<string | undefined> {
  return (await findState<{ id: string }>(executor, JOB))?.id
}

/** Writes the id where none is, and resolves to the one that is there: another replica may have been first. */
export async function rememberInstanceId(executor: Executor, id: string): Promise<string> {
  await keepState(executor, JOB, { id })
  return (await findInstanceId(executor)) as string
}

/** Takes the database over for another instance; without an id the next start writes its own. */
export const adoptInstanceId = (executor: Executor, id: string | undefined): Promise<void> =>
  id === undefined ? deleteState(executor, JOB) : saveState(executor, JOB, { id })
