/** Organization changes from events, API objects, and memberships that embed an organization. */
import { cleanJson, cleanText, type JsonObject } from '../../domain/clean.ts'
import { type EventReader, eventReader, textOf, timeOf } from '../../domain/payload.ts'
import { deletionOf, inferredDeletion, type Origin, originOf, type Versioned } from '../../domain/versioned.ts'
import { ClerkOrganization, DeletedObject } from './payload.ts'

declare module '../../domain/change.ts' {
  interface States {
    organization?: OrganizationState
  }
}

export interface OrganizationData {
  name: string | null
  slug: string | null
  imageUrl: string | null
  publicMetadata: JsonObject
  createdBy: string | null
}
export type OrganizationState = Versioned<OrganizationData>

// The data of a tombstone; a deletion clears all columns.
const WIPED: OrganizationData = { name: null, slug: null, imageUrl: null, publicMetadata: {}, createdBy: null }

export function organizationSnapshot(organization: ClerkOrganization, origin: Origin): OrganizationState {
  return {
    id: cleanText(organization.id),
    ...originOf(origin, timeOf(organization.updated_at)),
    createdAt: timeOf(organization.created_at),
    deletedAt: null,
    data: {
      name: textOf(organization.name),
      slug: textOf(organization.slug),
      imageUrl: textOf(organization.image_url),
      publicMetadata: cleanJson(organization.public_metadata ?? {}) as JsonObject,
      createdBy: textOf(organization.created_by),
    },
  }
}

/** The organization in a membership: versioned by its own `updated_at`, and older than an event of the same time. */
export function embeddedOrganization(organization: ClerkOrganization, origin: Origin): OrganizationState {
  const snapshot = organizationSnapshot(organization, origin)
  const { updatedAt } = snapshot.version
  return {
    ...snapshot,
    version: { updatedAt: organization.updated_at == null ? 0 : updatedAt, eventAt: null },
    heardAt: null,
  }
}

/** The state for an organization that the Backend API did not know at `askedAt`. */
export const missingOrganization = (id: string, askedAt: number): OrganizationState =>
  inferredDeletion(id, askedAt, WIPED)

const changed = (type: string): [string, EventReader] => [
  type,
  eventReader(type, ClerkOrganization, (data, eventAt) => ({ organization: organizationSnapshot(data, { eventAt }) })),
]

/** The id of the organization whose deletion is final, if this is one. */
export const deletedOrganizationOf = ({ organization }: { organization?: OrganizationState }): string | undefined =>
  organization && organization.deletedAt !== null && organization.source !== 'clerk_api' ? organization.id : undefined

/** The readers of events about organizations. */
export const organizationEvents: Record<string, EventReader> = {
  ...Object.fromEntries(['organization.created', 'organization.updated'].map(changed)),
  'organization.deleted': eventReader('organization.deleted', DeletedObject, ({ id }, eventAt) => ({
    organization: deletionOf(cleanText(id), eventAt, WIPED),
  })),
}
