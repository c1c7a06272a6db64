/** Everything that the soak breaks: a PostgreSQL of its own, a Clerk, and three replicas of the service. */
import pg from 'pg'
import { migrate } from '../../src/db/migrate.ts'
import { type ClerkEmulator, createClerkEmulator } from '../../src/emulator/index.ts'
import { type ChangeReceiver, PUSH_SECRET } from '../helpers/change-receiver.ts'
import type { TestDatabase } from '../helpers/database.ts'
import { type OwnPostgres, type Scope, startOwnPostgres } from '../helpers/own-postgres.ts'
import { freePorts } from '../helpers/process.ts'
import { forbidInLogs } from '../helpers/run-log.ts'
import { createTcpProxy, type TcpProxy } from '../helpers/tcp-proxy.ts'
import { createDisk, type Disk } from './disk.ts'
import { CHANGES_TOKEN, startMoodyReceiver } from './feed.ts'
import { createReplica, type Replica } from './replica.ts'

export interface World {
  postgres: OwnPostgres
  database: TestDatabase
  disk: Disk
  clerk: ClerkEmulator
  /** Of the change feed. */
  receiver: ChangeReceiver
  /** In front of PostgreSQL, for the replica that the network is cut off from. */
  network: TcpProxy
  /** Killed and restarted. */
  mortal: Replica
  /** Its connections to the database go over `network`. */
  remote: Replica
  /** Never restarted: it must get over everything by itself. */
  steady: Replica
  replicas: Replica[]
}

const DATABASE = 'soak'

export async function createWorld(scope: Scope, service: string): Promise<World> {
  const postgres = await startOwnPostgres(scope)
  const disk = await createDisk(scope, postgres)
  await disk.admin(`create database ${DATABASE} ${disk.tablespace ? `tablespace ${disk.tablespace}` : ''}`)
  const url = new URL(postgres.url)
  url.pathname = DATABASE
  await migrate(url.href)
  const network = await createTcpProxy(scope, url.href)
  // Good for the whole run, so that every 401 is wrong.
  const clerk = await createClerkEmulator({ tokenTtlSeconds: 86_400 })
  forbidInLogs(clerk.webhookSecret.replace('whsec_', ''), clerk.secretKey)
  scope.teardown(() => clerk.close())
  const receiver = await startMoodyReceiver(scope)
  const settings = {
    // The events are dated long ago, and sessions that ended then would be pruned.
    WEBHOOK_EVENTS_RETENTION_DAYS: '3650',
    CHANGES: 'true',
    CHANGES_TOKEN,
    CHANGES_WEBHOOK_URL: receiver.url,
    CHANGES_WEBHOOK_SECRET: PUSH_SECRET,
    CLERK_ISSUER: clerk.issuer,
    CLERK_API_URL: clerk.apiUrl,
    CLERK_SECRET_KEY: clerk.secretKey,
    // The soak's events are its own: its Clerk does not have their users.
    CATCH_UP_INTERVAL_SECONDS: '0',
    CLERK_WEBHOOK_SIGNING_SECRET: clerk.webhookSecret,
  }
  const replica = async (name: string, databaseUrl: string) =>
    createReplica(scope, service, name, await freePorts(), { ...settings, DATABASE_URL: databaseUrl })
  const mortal = await replica('mortal', url.href)
  const remote = await replica('remote', network.url)
  const steady = await replica('steady', url.href)
  const replicas = [mortal, remote, steady]
  // Whoever listens has its port; two that look for one at once may find the same.
  for (const one of replicas) await one.start()
  return { postgres, database: open(scope, url.href), disk, clerk, receiver, network, mortal, remote, steady, replicas }
}

/** For looking at the rows, over connections that are made anew after each fault. */
function open(scope: Scope, url: string): TestDatabase {
  const pool = new pg.Pool({ connectionString: url, max: 2, options: '-c search_path=clerk' })
  pool.on('error', () => undefined)
  pool.on('connect', (client) => client.on('error', () => undefined))
  scope.teardown(() => pool.end())
  return {
    url,
    async query<Row extends pg.QueryResultRow>(sql: string, values?: unknown[]) {
      return (await pool.query<Row>(sql, values)).rows
    },
    connect: () => pool.connect(),
  }
}
