/** A graphile-worker job in the transaction of the change: there is a job exactly when the user is in the table. */
import type { OnChange } from 'clerk-session-sync'

/** The `onChange` of the database plugin. graphile-worker must be installed in the same database. */
export const enqueueByGraphileWorker =
  (task: string): OnChange =>
  async (client, changes) => {
    for (const { id, entity, entityId, op } of changes) {
      if (entity !== 'user' || op !== 'created') continue
      const payload = JSON.stringify({ changeId: id, userId: entityId })
      await client.query('select graphile_worker.add_job($1, $2::json, job_key => $3)', [task, payload, id])
    }
  }
