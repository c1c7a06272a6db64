#!/usr/bin/env node
/** The command line: `clerk-session-sync <command>`. Results on stdout, progress on stderr; 0 done, 1 failed, 2 wrong usage. */
import { Command, CommanderError } from 'commander'
import { VERSION } from '../app.ts'
import { loadConfig } from '../config.ts'
import { migrate } from '../db/migrate.ts'
import { explain, serve } from '../server.ts'
import { dev } from './dev.ts'

const EXIT_FAILED = 1
const EXIT_WRONG_USAGE = 2

const program = new Command('clerk-session-sync')
  .description("Keeps a backend's users table in step with Clerk. Settings come from the environment; see the README.")
  .version(VERSION)
  .exitOverride()

program
  .command('serve')
  .description('run the service, as `node dist/server.js` does')
  .action(async () => {
    await serve(loadConfig(process.env))
  })

program
  .command('dev')
  .description('run the service with all that is not set embedded: PostgreSQL under .data/ and a local Clerk emulator')
  .action(() => dev(loadConfig({ ...process.env, NODE_ENV: 'development' })))

program
  .command('migrate')
  .description('bring the database of DATABASE_URL up to the newest migration')
  .action(async () => {
    const { DATABASE_URL, DATABASE_SCHEMA } = loadConfig(process.env, { required: ['DATABASE_URL'] })
    await migrate(DATABASE_URL as string, { schema: DATABASE_SCHEMA })
    console.log('The database is up to date.')
  })

try {
  await program.parseAsync()
} catch (error) {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? 0 : EXIT_WRONG_USAGE
  } else {
    console.error(explain(error))
    process.exit(EXIT_FAILED)
  }
}
