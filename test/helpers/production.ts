import type { Test } from 'tap'
import { type ClerkEmulator, createClerkEmulator } from '../../src/emulator/index.ts'
import { createDatabase, type TestDatabase } from './database.ts'
import { freePorts, type RunningProcess, runNode } from './process.ts'
import { forbidInstance } from './run-log.ts'

export interface Production {
  clerk: ClerkEmulator
  database: TestDatabase
  /** Starts the service as a process of its own, in production, and resolves when it listens. */
  start(
    port?: number,
    args?: string[],
    env?: Record<string, string>,
  ): Promise<RunningProcess & { url: string; port: number }>
}

/** The settings of a service on this database and this emulator. */
export const settingsOf = (clerk: ClerkEmulator, database: { url: string }): Record<string, string> => ({
  DATABASE_URL: database.url,
  CLERK_ISSUER: clerk.issuer,
  CLERK_API_URL: clerk.apiUrl,
  CLERK_SECRET_KEY: clerk.secretKey,
  CLERK_WEBHOOK_SIGNING_SECRET: clerk.webhookSecret,
})

/** What replicas of the service have in common. Tokens are good for the whole test. */
export async function createProduction(t: Test, given?: TestDatabase): Promise<Production> {
  const database = given ?? (await createDatabase(t))
  const clerk = await createClerkEmulator({ tokenTtlSeconds: 3_600 })
  forbidInstance(t, clerk)
  t.teardown(() => clerk.close())
  return {
    clerk,
    database,
    async start(wanted, args = [], env = {}) {
      const port = wanted ?? (await freePorts())
      const running = runNode(t, [...args, 'src/server.ts'], {
        NODE_ENV: 'production',
        HOST: '127.0.0.1',
        PORT: String(port),
        CATCH_UP_INTERVAL_SECONDS: '0',
        ...settingsOf(clerk, database),
        ...env,
      })
      await running.until(/Server listening/)
      return { ...running, port, url: `http://127.0.0.1:${port}` }
    },
  }
}
