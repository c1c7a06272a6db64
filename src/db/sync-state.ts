/** The SQL of `sync_state`: state of jobs that must survive the process. */

import type { JsonObject } from '../domain/clean.ts'
import { sql } from './drizzle.ts'
import { syncState } from './schema.ts'
import { $, type Executor, statement } from './statement.ts'

const select = statement<{ state: JsonObject }>(
  'sync_state_select',
  (t) => sql`select state from ${t(syncState)} where job = ${$(1)}`,
)
const upsert = statement(
  'sync_state_upsert',
  (t) => sql`insert into ${t(syncState)} (job, state) values (${$(1)}, ${$(2)}::jsonb)
  on conflict (job) do update set state = excluded.state, updated_at = now()`,
)
const insert = statement(
  'sync_state_insert',
  (t) => sql`insert into ${t(syncState)} (job, state) values (${$(1)}, ${$(2)}::jsonb) on conflict (job) do nothing`,
)
const remove = statement('sync_state_delete', (t) => sql`delete from ${t(syncState)} where job = ${$(1)}`)

/** The last saved state of a job. */
export async function findState<State>(executor: Executor, job: string): Promise<State | undefined> {
  const [row] = await select(executor, job)
  return row?.state as State | undefined
}

export async function saveState(executor: Executor, job: string, state: object): Promise<void> {
  await upsert(executor, job, JSON.stringify(state))
}

/** Saves the state unless there is one already. */
export async function keepState(executor: Executor, job: string, state: object): Promise<void> {
  await insert(executor, job, JSON.stringify(state))
}

export async function deleteState(executor: Executor, job: string): Promise<void> {
  await remove(executor, job)
}
