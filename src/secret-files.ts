/** Secrets from files, as Docker and Kubernetes mount them: what may stand in the file that `<name>_FILE` names. */
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
      wrong(`${path} cannot be read (${reasonOf(error as NodeJS.ErrnoException, path)})`)
    }
  }
}

/** The code; and whose file it is, where it is another user's: a container sees owner and mode as they are outside. */
function reasonOf({ code }: NodeJS.ErrnoException, path: string): string {
  if (code !== 'EACCES') return String(code)
  const uid = process.geteuid?.()
  try {
    const { uid: owner, mode } = statSync(path)
    const rights = (mode & 0o777).toString(8).padStart(4, '0')
    return `${code}: it belongs to user ${owner} with mode ${rights}, and this process is user ${uid}: chown ${uid} the file`
  } catch {
    return `${code}: user ${uid} may not enter its folder`
  }
}
