/** Drift of organizations and what belongs to them: what a comparison with Clerk's lists found. */
import type { Drift } from './drift.ts'

export interface ListReport {
  /** Objects that Clerk listed. */
  checked: number
  missing: Drift
  stale: Drift
  gone: Drift
  /** Objects of Clerk's that could not be read. */
  unusable: string[]
  /** So many were not deleted, because too many would have been. */
  deletionsWithheld: number
}

/** By kind. */
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

/** How much drift there still is. */
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
