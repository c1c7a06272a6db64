/** One PostgreSQL for the whole run, with a migrated template that every test file clones. */
import { chmodSync, mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { migrate } from '../../src/db/migrate.ts'
import { startEmbeddedPostgres } from '../../src/embedded/postgres.ts'
import { readServer, stopServer, TEMPLATE, writeServer } from './postgres-server.ts'

async function startEmbedded(): Promise<string> {
  const directory = mkdtempSync(join(tmpdir(), 'clerk-session-sync-test-'))
  chmodSync(directory, 0o711) // As root, PostgreSQL runs as another user.
  const { url, pid } = await startEmbeddedPostgres({
    directory: join(directory, 'data'),
    settings: ['fsync=off', 'full_page_writes=off', 'max_connections=300'],
    detached: true,
  })
  writeServer({ url, pid, directory })
  return url
}

await stopServer(readServer())
// TEST_DATABASE_URL names another server to test on, as a role that may create databases.
const external = process.env.TEST_DATABASE_URL
const url = external ?? (await startEmbedded())
if (external) writeServer({ url })
const client = new pg.Client({ connectionString: url })
await client.connect()
await client.query(`drop database if exists ${TEMPLATE}`)
await client.query(`create database ${TEMPLATE}`)
await client.end()
const template = new URL(url)
template.pathname = TEMPLATE
await migrate(template.href)
