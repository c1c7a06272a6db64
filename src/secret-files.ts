/** Secrets from files, as Docker and Kubernetes mount them: `<name>_FILE` names the file. */
import { readFileSync, statSync } from 'node:fs'

export const SECRETS = [
  'DATABASE_URL',
  'CLERK_JWT_KEY',
  'CLERK_SECRET_KEY',
  'CLERK_WEBHOOK_SIGNING_SECRET',
  'CHANGES_TOKEN',
  'CHANGES_WEBHOOK_SECRET',
  'DASHBOARD_TOKEN',
] as const

/** Sets each secret to the content of its file. Problems are recorded under the secret's name, without the content. */
export function readSecretFiles(data: Record<string, string | undefined>, problems: Map<string, string>): void {
  for (const name of SECRETS) {
    const path = data[`${name}_FILE`]
    if (path === undefined) continue
    const wrong = (what: string) => problems.set(name, `${name}_FILE is wrong: ${what}`)
    if (data[name] !== undefined) {
      wrong(`${name} is set as well — set only one of them`)
      continue
    }
    try {
      const content = readFileSync(path, 'utf8').trim()
      if (content === '') wrong(`${path} is empty`)
      else data[name] = content
    } catch (error) {
      wrong(`${path} cannot be read (${reasonOf(error as NodeJS.ErrnoException, path)})`)
    }
  }
}

/** The error code, and the owner if the file belongs to another user: a container sees owner and mode of the host. */
function reasonOf({ code }: NodeJS.ErrnoException, path: string): string {
  if (code !== 'EACCES') return String(code)
  const uid = process.geteuid?.()
  try {
    const { uid: owner, mode } = statSync(path)
    const rights = (mode & 0o777).toString(8).padStart(4, '0')
    return `${code}: it belongs to user ${owner} with mode ${rights}, and this process is user ${uid}: chown ${uid} the file`
  } catch {
    return `${code}: user ${uid} may not enter its directory`
  }
}
