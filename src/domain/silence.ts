/** Detects missing webhooks, because an endpoint that Svix disabled after five days of failures looks like a quiet day. */

/** The ledger's counts of one event type, among the newest messages and all failed ones. */
export interface LedgerEntry {
  type: string
  messages: number
  failed: number
  /** When the last of them was received. */
  lastReceivedAt: Date
}

/** Users that Clerk created, updated and deleted without a webhook. */
export interface Undelivered {
  created: number
  updated: number
  deleted: number
}

const DAY_MS = 86_400_000

/** The time (ms) from which webhooks are expected: that of the oldest message in the ledger; a day ago if there is none. */
export function expectedSince(oldest: Date | undefined, nowMs: number): number {
  return oldest === undefined ? nowMs - DAY_MS : +oldest
}

const ENDPOINT = 'in the Clerk Dashboard, Webhooks, check the endpoint'

/** Possible problems of the endpoint, one sentence each; none if all is well. */
export function explainSilence(ledger: readonly LedgerEntry[], undelivered: Undelivered): string[] {
  const findings: string[] = []
  const failed = ledger.reduce((sum, entry) => sum + entry.failed, 0)
  if (failed > 0) findings.push(`${failed} events failed: see \`clerk-session-sync replay --list\``)
  const total = undelivered.created + undelivered.updated + undelivered.deleted
  if (total === 0) return findings
  if (ledger.length === 0) {
    findings.push(
      `no webhook has been received: ${ENDPOINT}: does it exist, is its URL right and reachable, is its signing secret the one set here?`,
    )
    return findings
  }
  const seen = new Set(ledger.map(({ type }) => type))
  const silent = (['created', 'updated', 'deleted'] as const).filter((kind) => undelivered[kind] > 0)
  const neverSeen = silent.map((kind) => `user.${kind}`).filter((type) => !seen.has(type))
  if (neverSeen.length > 0) {
    findings.push(
      `${neverSeen.join(', ')} were not received recently, but other types were: ${ENDPOINT}: is it subscribed to them?`,
    )
  }
  if (neverSeen.length < silent.length) {
    const last = new Date(Math.max(...ledger.map(({ lastReceivedAt }) => +lastReceivedAt))).toISOString()
    findings.push(
      `the last webhook was received at ${last}, but ${total} changes were not delivered: ${ENDPOINT}: is it disabled, do its deliveries fail (a wrong signing secret is answered 400)?`,
    )
  }
  return findings
}
