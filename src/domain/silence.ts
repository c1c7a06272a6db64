/** What webhooks did not say. An endpoint that Svix disabled after five days of failures looks like a quiet day. */

/** The messages of one type in the ledger: of the newest ones, and of all that failed. */
export interface LedgerEntry {
  type: string
  messages: number
  failed: number
  /** When the last of them came. */
  lastReceivedAt: Date
}

/** Users that Clerk created, updated and deleted without a webhook telling of it. */
export interface Undelivered {
  created: number
  updated: number
  deleted: number
}

const DAY_MS = 86_400_000

/** From when on webhooks are expected: since the oldest one in the ledger; for a day, where none ever came. */
export function expectedSince(oldest: Date | undefined, nowMs: number): number {
  return oldest === undefined ? nowMs - DAY_MS : +oldest
}

const ENDPOINT = 'in the Clerk dashboard, Webhooks, look at the endpoint'

/** What the silence suggests, one sentence each; none where all is well. */
export function explainSilence(ledger: readonly LedgerEntry[], undelivered: Undelivered): string[] {
  const findings: string[] = []
  const failed = ledger.reduce((sum, entry) => sum + entry.failed, 0)
  if (failed > 0) findings.push(`${failed} events came and failed: see \`clerk-session-sync replay --list\``)
  const total = undelivered.created + undelivered.updated + undelivered.deleted
  if (total === 0) return findings
  if (ledger.length === 0) {
    findings.push(
      `no webhook has ever come: ${ENDPOINT}: does it exist, is its URL right and reachable, is its signing secret the one set here?`,
    )
    return findings
  }
  const seen = new Set(ledger.map(({ type }) => type))
  const silent = (['created', 'updated', 'deleted'] as const).filter((kind) => undelivered[kind] > 0)
  const neverSeen = silent.map((kind) => `user.${kind}`).filter((type) => !seen.has(type))
  if (neverSeen.length > 0) {
    findings.push(
      `${neverSeen.join(', ')} did not come lately though others did: ${ENDPOINT}: is it subscribed to them?`,
    )
  }
  if (neverSeen.length < silent.length) {
    const last = new Date(Math.max(...ledger.map(({ lastReceivedAt }) => +lastReceivedAt))).toISOString()
    findings.push(
      `the last webhook came at ${last}, but ${total} changes were not delivered: ${ENDPOINT}: is it disabled, do its attempts fail (a wrong signing secret is answered 400)?`,
    )
  }
  return findings
}
