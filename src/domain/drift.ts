/** Drift: how the rows may differ from what Clerk says, and what a search for it found. */
import { type OrganizationsReport, remainingOfLists } from './organization-drift.ts'
import type { Undelivered } from './silence.ts'
import type { Version } from './version.ts'

/**
 * How a row is to what Clerk says of its user: `missing` here, `stale` (of an older version), `different` though of the same
 * version, `newer` than at Clerk, `deleted` here, or the `same`.
 */
export type Difference = 'missing' | 'stale' | 'different' | 'newer' | 'deleted' | 'same'

export interface ComparedRow {
  id: string
  difference: Difference
  /** The row's version; null where it has none. */
  version: Version | null
}

/** Drift as it is reported: missing here, stale here (or different), ours newer, gone at Clerk. */
export const DRIFT_KINDS = ['missing', 'stale', 'newer', 'gone'] as const
export type DriftKind = (typeof DRIFT_KINDS)[number]

export interface Drift {
  count: number
  repaired: number
  /** Ids of some of them. */
  sample: string[]
}

/** What a reconcile found. Users that are known as deleted here do not drift. */
export interface ReconcileReport {
  startedAt: string
  /** False when it was interrupted: then nothing is known of users that are gone at Clerk. */
  isComplete: boolean
  /** Users that Clerk listed. */
  checked: number
  drift: Record<DriftKind, Drift>
  /** Listed by Clerk, deleted here by an event: they stay deleted. */
  deletedHere: number
  /** Users of Clerk's that could not be read. */
  unusable: string[]
  /** Users that could not be repaired, and why; some of them. */
  failures: { id: string; reason: string }[]
  /** So many were not deleted, because too many would have been. */
  deletionsWithheld: number
  /** What Clerk changed since `undeliveredSince` that no webhook delivered. */
  undelivered: Undelivered
  undeliveredSince: string
  /** Organizations, roles, memberships and invitations, compared after the users. */
  organizations: OrganizationsReport
}

/** How much drift there still is. */
export function remainingDrift({ drift, organizations }: Pick<ReconcileReport, 'drift' | 'organizations'>): number {
  const ofUsers = DRIFT_KINDS.reduce((sum, kind) => sum + drift[kind].count - drift[kind].repaired, 0)
  return ofUsers + remainingOfLists(organizations)
}
