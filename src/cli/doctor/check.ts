import { databaseRemedy } from '../../db/errors.ts'

/** One line of the doctor's report: what was checked, the result, and the remedy. */
export interface Check {
  name: string
  status: 'pass' | 'warn' | 'fail'
  detail: string
  remedy?: string
}

export const pass = (name: string, detail: string): Check => ({ name, status: 'pass', detail })
export const warn = (name: string, detail: string, remedy: string): Check => ({ name, status: 'warn', detail, remedy })
export const fail = (name: string, detail: string, remedy: string): Check => ({ name, status: 'fail', detail, remedy })

/** Runs checks. If they throw, the error becomes a failed check, so that other checks still run. */
export async function guarded(name: string, checks: () => Promise<Check[]>, remedy: string): Promise<Check[]> {
  try {
    return await checks()
  } catch (error) {
    return [fail(name, reasonOf(error), remedy)]
  }
}

/** The reason of an error, in one line. */
export function reasonOf(error: unknown): string {
  const { cause, message, code } = error as Error & { code?: string }
  if (cause instanceof Error) return reasonOf(cause)
  const remedy = databaseRemedy(error)
  if (remedy !== undefined) return remedy
  // The AggregateError for a host with several addresses has an empty message.
  return message || String(code)
}
