import { execFileSync } from 'node:child_process'
import { chmodSync, chownSync, mkdtempSync, rmSync, statfsSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import type { OwnPostgres, Scope } from '../helpers/own-postgres.ts'

/** The disk of the tables. Its being full is real where a file system may be mounted, which takes root; else it is raised. */
export interface Disk {
  isReal: boolean
  /** The tablespace on it, where it is real. */
  tablespace?: string
  admin(sql: string): Promise<void>
  /** Not a block more for the database whose URL is given. */
  fill(url: string): Promise<void>
  free(url: string): Promise<void>
}

const LARGE = 'size=2g'

/** What each insert ends in, where no disk can be filled: PostgreSQL's own code for it. */
const RAISE = `create function disk_full() returns trigger language plpgsql as
  $$ begin raise 'could not extend file: No space left on device' using errcode = '53100'; end $$;
  create trigger disk_full before insert or update on webhook_events execute function disk_full()`
const RAISE_NO_MORE = 'drop trigger disk_full on webhook_events; drop function disk_full()'

export async function createDisk(scope: Scope, { url, directory }: OwnPostgres): Promise<Disk> {
  const admin = (sql: string) => run(url, sql)
  const mountPoint = mkdtempSync(join(tmpdir(), 'clerk-session-sync-disk-'))
  chmodSync(mountPoint, 0o711)
  if (!mount(mountPoint, LARGE)) {
    rmSync(mountPoint, { recursive: true })
    return {
      isReal: false,
      admin,
      fill: (database) => run(database, RAISE),
      free: (database) => run(database, RAISE_NO_MORE),
    }
  }
  scope.teardown(() => {
    // Lazily: PostgreSQL may still be at its last files.
    execFileSync('umount', ['--lazy', mountPoint])
    rmSync(mountPoint, { recursive: true })
  })
  const { uid, gid } = statSync(directory)
  chownSync(mountPoint, uid, gid)
  await admin(`create tablespace small location '${mountPoint}'`)
  return {
    isReal: true,
    tablespace: 'small',
    admin,
    async fill() {
      const { blocks, bfree, bsize } = statfsSync(mountPoint)
      mount(mountPoint, `remount,size=${(blocks - bfree) * bsize}`)
    },
    free: async () => void mount(mountPoint, `remount,${LARGE}`),
  }
}

function mount(path: string, options: string): boolean {
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', path], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

async function run(connectionString: string, sql: string): Promise<void> {
  const client = new pg.Client({ connectionString })
  await client.connect()
  try {
    await client.query(sql)
  } finally {
    await client.end()
  }
}
