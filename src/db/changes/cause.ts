import type { Change } from '../../domain/change.ts'
import type { Cause } from '../../domain/feed.ts'
import { resources } from '../../resources/index.ts'

/** Why the rows of a batch change, as the triggers read it: one cause, or causes by id where they differ. */
export function causeOf(changes: readonly Change[]): string {
  const causes = changes.map(causeOfOne)
  const main = causes.includes('webhook') ? 'webhook' : (causes[0] as Cause)
  if (causes.every((cause) => cause === main)) return main
  const byId: Record<string, Cause> = { '': main }
  for (const [i, change] of changes.entries()) {
    const cause = causes[i] as Cause
    for (const { name } of resources) {
      const { id } = (change[name] ?? {}) as { id?: string }
      // What a token says of a user whom a snapshot names too counts for less.
      if (id !== undefined && (cause !== 'session_claims' || byId[id] === undefined)) byId[id] = cause
    }
  }
  return JSON.stringify(byId)
}

function causeOfOne({ message, user }: Change): Cause {
  if (message) return 'webhook'
  return user?.kind === 'claims' ? 'session_claims' : 'clerk_api'
}
