/** Secrets from files, as Docker and Kubernetes mount them: what may stand in the file that `<name>_FILE` names. */
import { readFileSync } from 'node:fs'

export const SECRETS = [
  'DATABASE_URL',
  'CLERK_JWT_KEY',
  'CLERK_SECRET_KEY',
  'CLERK_WEBHOOK_SIGNING_SECRET',
  'CHANGES_TOKEN',
  'CHANGES_WEBHOOK_SECRET',
  'DASHBOARD_TOKEN',
] as const

/** Puts the content of each secret's file in its place. What is wrong is noted under the secret's name, without its content. */
export function readSecretFiles(data: Record<string, string | undefined>, problems: Map<string, string>): void {
  for (const name of SECRETS) {
    const path = data[`${name}_FILE`]
    if (path === undefined) continue
    const wrong = (what: string) => problems.set(name, `${name}_FILE is wrong: ${what}`)
    if (data[name] !== undefined) {
      wrong(`${name} is set as well — leave one of them out`)
      continue
    }
    try {
      const content = readFileSync(path, 'utf8').trim()
      if (content === '') wrong(`${path} is empty`)
      else data[name] = content
    } catch (error) {
      wrong(`${path} cannot be read (${(error as NodeJS.ErrnoException).code})`)
    }
  }
}
