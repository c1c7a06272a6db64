import type { Change } from '../../domain/change.ts'
import type { Cause } from '../../domain/feed.ts'
import { resources } from '../../resources/index.ts'

/** The cause of a batch's row changes, in the format that the triggers read: one cause, or causes by id if they differ. */
export function causeOf(changes: readonly Change[]): string {
  const causes = changes.map(causeOfOne)
  const main = causes.includes('webhook') ? 'webhook' : (causes[0] as Cause)
  if (causes.every((cause) => cause === main)) return main
  const byId: Record<string, Cause> = { '': main }
  for (const [i, change] of changes.entries()) {
    const cause = causes[i] as Cause
    for (const { name } of resources) {
      const { id } = (change[name] ?? {}) as { id?: string }
      // A snapshot's cause takes precedence over that of a token's claims about the same user.
      if (id !== undefined && (cause !== 'session_claims' || byId[id] === undefined)) byId[id] = cause
    }
  }
  return JSON.stringify(byId)
}

function causeOfOne({ message, user }: Change): Cause {
  if (message) return 'webhook'
  return user?.kind === 'claims' ? 'session_claims' : 'clerk_api'
}
