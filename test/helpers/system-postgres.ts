import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'

const FOLDER = '/usr/lib/postgresql'

export interface SystemPostgres {
  version: number
  /** Where its `initdb`, `postgres` and `pg_basebackup` are. */
  binaries: string
}

/** The PostgreSQL servers that Debian's packages have put on this machine, of a version that is supported, oldest first. */
export function findSystemPostgres(): SystemPostgres[] {
  if (!existsSync(FOLDER)) return []
  return readdirSync(FOLDER)
    .map((name) => ({ version: Number(name), binaries: join(FOLDER, name, 'bin') }))
    .filter(({ version, binaries }) => version >= 14 && existsSync(join(binaries, 'postgres')))
    .toSorted((a, b) => a.version - b.version)
}

export const NO_SYSTEM_POSTGRES = 'NOT RUN: no PostgreSQL of the system is here: apt-get install -y postgresql'
