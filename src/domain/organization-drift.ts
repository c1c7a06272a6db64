/** Drift of organizations, roles, memberships and invitations, found by comparing the tables with Clerk's lists. */
import type { Drift } from './drift.ts'

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

const noDrift = (): Drift => ({ count: 0, repaired: 0, sample: [] })

const noListReport = (): ListReport => ({
  checked: 0,
  missing: noDrift(),
  stale: noDrift(),
  gone: noDrift(),
  unusable: [],
  deletionsWithheld: 0,
})

/** The number of differences that were not repaired. */
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
