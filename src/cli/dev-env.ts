/** Writes the settings of what `dev` embeds to a file, so that other commands reach the same database and emulator. */
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import type { Config } from '../config.ts'

export const DEV_ENV_FILE = '.data/dev.env'

const NAMES = ['DATABASE_URL', 'CLERK_ISSUER', 'CLERK_API_URL', 'CLERK_SECRET_KEY'] as const

/**
 * Writes the settings that `dev` added, readable only by their owner, in a format that shells and `node --env-file`
 * understand.
 */
export function writeDevEnv(given: Config, embedded: Config, file = DEV_ENV_FILE): void {
  const added = NAMES.filter((name) => embedded[name] !== given[name])
  const lines = added.map((name) => `${name}='${embedded[name]}'`)
  if (embedded.CLERK_ISSUER !== given.CLERK_ISSUER) {
    lines.push(`CLERK_WEBHOOK_SIGNING_SECRET='${embedded.CLERK_WEBHOOK_SIGNING_SECRET.join(',')}'`)
  }
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, [...lines, `PORT='${embedded.PORT}'`, ''].join('\n'), { mode: 0o600 })
  // The mode above applies only to a new file.
  chmodSync(file, 0o600)
}
