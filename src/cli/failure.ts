import { reasonOf } from './doctor/check.ts'

/** Describes in one line why a command failed, with the remedy. */
export function explainFailure(error: unknown): string {
  const { cause, code } = error as Error & { code?: string }
  if (cause instanceof Error) return explainFailure(cause)
  if (code === '42P01' || code === '3F000') {
    return 'clerk-session-sync: the database is not migrated: run clerk-session-sync migrate'
  }
  return `clerk-session-sync: ${reasonOf(error)}`
}
