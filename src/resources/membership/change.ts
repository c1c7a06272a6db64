/** Membership changes, and those of the embedded organization and user. */
import type { States } from '../../domain/change.ts'
import { cleanJson, cleanText, type JsonObject } from '../../domain/clean.ts'
import { type EventReader, eventReader, textOf, timeOf } from '../../domain/payload.ts'
import { deletionOf, inferredDeletion, type Origin, originOf, type Versioned } from '../../domain/versioned.ts'
import { embeddedOrganization } from '../organization/change.ts'
import { permissionsOf } from '../role/change.ts'
import type { UserClaims } from '../user/change.ts'
import { ClerkMembership, EndedMembership, type PublicUserData } from './payload.ts'

declare module '../../domain/change.ts' {
  interface States {
    membership?: MembershipState
  }
}

export interface MembershipData {
  /** Null only if an end contains nothing but the membership's id. */
  organizationId: string | null
  userId: string | null
  role: string | null
  /** The role's permissions when Clerk sent the membership; sorted. */
  permissions: string[]
  publicMetadata: JsonObject
}
export type MembershipState = Versioned<MembershipData>

/** The states in a membership from an event or the Backend API. */
export function membershipStates(membership: ClerkMembership, origin: Origin): States {
  return {
    user: fillOf(membership.public_user_data, origin),
    organization: embeddedOrganization(membership.organization, origin),
    membership: {
      id: cleanText(membership.id),
      ...originOf(origin, timeOf(membership.updated_at)),
      createdAt: timeOf(membership.created_at),
      deletedAt: null,
      data: dataOf(membership),
    },
  }
}

/** The state for a membership that the Backend API did not know at `askedAt`. */
export function missingMembership(
  { id, ...ids }: Pick<MembershipData, 'organizationId' | 'userId'> & { id: string },
  askedAt: number,
): MembershipState {
  return inferredDeletion(id, askedAt, { ...ids, role: null, permissions: [], publicMetadata: {} })
}

function dataOf(membership: EndedMembership): MembershipData {
  return {
    organizationId: textOf(membership.organization?.id),
    userId: textOf(membership.public_user_data?.user_id),
    role: textOf(membership.role),
    permissions: permissionsOf(membership.permissions ?? []),
    publicMetadata: cleanJson(membership.public_metadata ?? {}) as JsonObject,
  }
}

// A time before Clerk existed, so that any other state of a user is newer.
const FILL_AGE_MS = 40 * 365.25 * 86_400_000

/** The membership's part about its user, as claims that are older than all others, for a user who is otherwise unknown. */
function fillOf(data: PublicUserData, origin: Origin): UserClaims {
  const isEvent = 'eventAt' in origin
  const saidAt = isEvent ? origin.eventAt : origin.askedAt
  const { identifier, username } = data
  return {
    kind: 'claims',
    id: cleanText(data.user_id),
    source: isEvent ? 'webhook' : 'clerk_api',
    issuedAt: saidAt - FILL_AGE_MS,
    profile: {
      firstName: textOf(data.first_name),
      lastName: textOf(data.last_name),
      imageUrl: textOf(data.image_url),
      ...(username != null && { username: cleanText(username) }),
      ...(identifier?.includes('@') && { email: cleanText(identifier) }),
    },
  }
}

const changed = (type: string): [string, EventReader] => [
  type,
  eventReader(type, ClerkMembership, (data, eventAt) => membershipStates(data, { eventAt })),
]

/** The readers of events about memberships. */
export const membershipEvents: Record<string, EventReader> = {
  ...Object.fromEntries(['organizationMembership.created', 'organizationMembership.updated'].map(changed)),
  'organizationMembership.deleted': eventReader('organizationMembership.deleted', EndedMembership, (data, eventAt) => ({
    ...(data.organization && { organization: embeddedOrganization(data.organization, { eventAt }) }),
    // Its creation time tells it from a later membership of the same user.
    membership: { ...deletionOf(cleanText(data.id), eventAt, dataOf(data)), createdAt: timeOf(data.created_at) },
  })),
}
