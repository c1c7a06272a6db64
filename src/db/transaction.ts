import { setTimeout as sleep } from 'node:timers/promises'
import type pg from 'pg'
import { isConflict, isDatabaseTrouble } from './pool.ts'

const MAX_ATTEMPTS = 4

/**
 * Runs `work` in one transaction and commits. Conflicts with other transactions (40001, 40P01) are tried
 * again, each time after a longer random pause, so `work` may run several times; `onRetry` counts them.
 */
export async function inTransaction<T>(
  pool: pg.Pool,
  work: (client: pg.PoolClient) => Promise<T>,
  onRetry: () => void,
): Promise<T> {
  for (let attempt = 1; attempt < MAX_ATTEMPTS; attempt += 1) {
    try {
      return await runOnce(pool, work)
    } catch (error) {
      if (!isConflict(error)) throw error
    }
    onRetry()
    await sleep(Math.random() * 20 * 2 ** attempt)
  }
  return runOnce(pool, work)
}

async function runOnce<T>(pool: pg.Pool, work: (client: pg.PoolClient) => Promise<T>): Promise<T> {
  const client = await pool.connect()
  try {
    // Whatever the database's default: who waited for a lock must see what its holder wrote.
    await client.query('begin isolation level read committed')
    const result = await work(client)
    await client.query('commit')
    client.release()
    return result
  } catch (error) {
    client.release(await rollback(client, error))
    throw error
  }
}

/** Resolves to the reason why the connection must be closed instead, if there is one. */
async function rollback(client: pg.PoolClient, error: unknown): Promise<Error | undefined> {
  // A connection in trouble is closed, which rolls back as well, and cannot make anyone wait a second time.
  if (isDatabaseTrouble(error) && !isConflict(error)) return error as Error
  return client.query('rollback').then(
    () => undefined,
    (rollbackError: Error) => rollbackError,
  )
}
