/** A pg-boss job in the transaction of the change: there is a job exactly when the user is in the table. */
import type { OnChange } from 'clerk-session-sync'
import type { PgBoss } from 'pg-boss'

/** The `onChange` of the database plugin. The queue must exist (`boss.createQueue`), in the same database. */
export const enqueueByPgBoss =
  (boss: PgBoss, queue: string): OnChange =>
  async (client, changes) => {
    const db = { executeSql: (text: string, values?: unknown[]) => client.query(text, values) }
    for (const { id, entity, entityId, op } of changes) {
      if (entity === 'user' && op === 'created') await boss.send(queue, { changeId: id, userId: entityId }, { db })
    }
  }
