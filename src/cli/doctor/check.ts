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

/** What an error says in one line; pg's errors about connections have no message of their own. */
export function reasonOf(error: unknown): string {
  const { cause, message, code } = error as Error & { code?: string }
  if (cause instanceof Error) return reasonOf(cause)
  // Of several addresses that refused, the error has no message of its own.
  return message || String(code)
}
