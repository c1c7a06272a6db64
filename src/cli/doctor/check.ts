import { certificateRemedy } from '../../db/errors.ts'

/** One line of the doctor's: what was looked at, how it is, and what to do about it. */
export interface Check {
  name: string
  status: 'pass' | 'warn' | 'fail'
  detail: string
  remedy?: string
}

export const pass = (name: string, detail: string): Check => ({ name, status: 'pass', detail })
export const warn = (name: string, detail: string, remedy: string): Check => ({ name, status: 'warn', detail, remedy })
export const fail = (name: string, detail: string, remedy: string): Check => ({ name, status: 'fail', detail, remedy })

/** Runs checks; whatever goes wrong in them is a line of its own, and the others go on. */
export async function guarded(name: string, checks: () => Promise<Check[]>, remedy: string): Promise<Check[]> {
  try {
    return await checks()
  } catch (error) {
    return [fail(name, reasonOf(error), remedy)]
  }
}

/** What an error says in one line; pg's errors about connections have no message of their own. */
export function reasonOf(error: unknown): string {
  const { cause, message, code } = error as Error & { code?: string }
  if (cause instanceof Error) return reasonOf(cause)
  const remedy = certificateRemedy(error)
  if (remedy !== undefined) return remedy
  // Of several addresses that refused, the error has no message of its own.
  return message || String(code)
}
