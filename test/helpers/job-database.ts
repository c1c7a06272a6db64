import type { Test } from 'tap'
import { createJobDatabase, type JobDatabase } from '../../src/jobs/database.ts'
import { createDatabase, type TestDatabase } from './database.ts'

/** A job's connections to a database of the test's own. */
export async function createTestJobDatabase(t: Test): Promise<{ database: JobDatabase; query: TestDatabase['query'] }> {
  const { url, query } = await createDatabase(t)
  const database = createJobDatabase({
    connectionString: url,
    applicationName: 'test',
    onError: () => undefined,
  })
  t.teardown(() => database.end())
  return { database, query }
}
