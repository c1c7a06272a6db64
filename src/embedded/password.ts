/** The password of the embedded server's superuser, who can run programs. It is random, in a file that only its owner can read. */
import { randomBytes } from 'node:crypto'
import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import pg from 'pg'

// The password of data from versions without a password file.
const FORMER_PASSWORD = 'development'

export const hasPassword = (file: string) => existsSync(file)

/** Reads the password, and creates it if there is none. */
export function readPassword(file: string): string {
  if (!existsSync(file)) writeFileSync(file, randomBytes(24).toString('base64url'), { flag: 'wx', mode: 0o600 })
  chmodSync(file, 0o600)
  return readFileSync(file, 'utf8').trim()
}

/** Sets the password on data from versions without a password file. */
export async function replaceFormerPassword(url: string, file: string): Promise<void> {
  const former = new URL(url)
  former.password = FORMER_PASSWORD
  const client = new pg.Client({ connectionString: former.href })
  try {
    await client.connect()
    await client.query(`alter role current_user password ${client.escapeLiteral(readPassword(file))}`)
  } catch (error) {
    throw new Error(`${file} is missing, and login is not possible without it: ${(error as Error).message}`)
  } finally {
    await client.end()
  }
}
