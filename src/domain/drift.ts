/** Drift: the ways in which rows can differ from Clerk, and the report of a reconcile. */
import type { Undelivered } from './silence.ts'
import type { Version } from './version.ts'

/**
 * A row compared with Clerk's user: `missing` here, `stale` (an older version), `different` although of the same version, `newer`
 * than at Clerk, `deleted` here, or the `same`.
 */
export type Difference = 'missing' | 'stale' | 'different' | 'newer' | 'deleted' | 'same'

export interface ComparedRow {
  id: string
  difference: Difference
  /** The row's version; null if it has none. */
  version: Version | null
}

/** The kinds of drift in reports: missing here, stale here (or different), newer here, missing at Clerk. */
export const DRIFT_KINDS = ['missing', 'stale', 'newer', 'gone'] as const
export type DriftKind = (typeof DRIFT_KINDS)[number]

export interface Drift {
  count: number
  repaired: number
  /** Some of the ids. */
  sample: string[]
}

/** The drift of organizations, roles, memberships or invitations, from a comparison of their table with Clerk's list. */
export interface ListReport {
  /** Objects that Clerk listed. */
  checked: number
  missing: Drift
  stale: Drift
  gone: Drift
  /** Objects from Clerk that could not be parsed. */
  unusable: string[]
  /** The number of objects that were not deleted because there were too many. */
  deletionsWithheld: number
}

/** The reports by kind of object. */
export interface OrganizationsReport {
  organization: ListReport
  role: ListReport
  membership: ListReport
  invitation: ListReport
}

/** The report of a reconcile. Users that are deleted here do not count as drift. */
export interface ReconcileReport {
  startedAt: string
  /** False if it was interrupted; users that are missing at Clerk were then not searched for. */
  isComplete: boolean
  /** Users that Clerk listed. */
  checked: number
  drift: Record<DriftKind, Drift>
  /** Listed by Clerk, deleted here by an event: they stay deleted. */
  deletedHere: number
  /** Users from Clerk that could not be parsed. */
  unusable: string[]
  /** Users that could not be repaired, and why; some of them. */
  failures: { id: string; reason: string }[]
  /** The number of users that were not deleted because there were too many. */
  deletionsWithheld: number
  /** Changes at Clerk since `undeliveredSince` that no webhook delivered. */
  undelivered: Undelivered
  undeliveredSince: string
  /** Organizations, roles, memberships and invitations, compared after the users. */
  organizations: OrganizationsReport
}

/** The number of differences that were not repaired. */
export function remainingDrift({ drift, organizations }: Pick<ReconcileReport, 'drift' | 'organizations'>): number {
  const ofUsers = DRIFT_KINDS.reduce((sum, kind) => sum + drift[kind].count - drift[kind].repaired, 0)
  return ofUsers + remainingOfLists(organizations)
}

export const noDrift = (): Drift => ({ count: 0, repaired: 0, sample: [] })

const noListReport = (): ListReport => ({
  checked: 0,
  missing: noDrift(),
  stale: noDrift(),
  gone: noDrift(),
  unusable: [],
  deletionsWithheld: 0,
})

/** The number of differences in lists that were not repaired. */
export const remainingOfLists = (report: OrganizationsReport): number =>
  Object.values(report as unknown as Record<string, ListReport>)
    .flatMap(({ missing, stale, gone }) => [missing, stale, gone])
    .reduce((sum, { count, repaired }) => sum + count - repaired, 0)

export const noOrganizationsReport = (): OrganizationsReport => ({
  organization: noListReport(),
  role: noListReport(),
  membership: noListReport(),
  invitation: noListReport(),
})
