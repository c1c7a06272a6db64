/** Changes of invitations to an organization. */
import { cleanText } from '../../domain/clean.ts'
import { type EventReader, eventReader, textOf, timeOf } from '../../domain/payload.ts'
import { inferredDeletion, type Origin, originOf, type Versioned } from '../../domain/versioned.ts'
import { ClerkInvitation } from './payload.ts'

declare module '../../domain/change.ts' {
  interface States {
    invitation?: InvitationState
  }
}

export interface InvitationData {
  organizationId: string | null
  email: string | null
  role: string | null
  /** `pending`, or finally one of `accepted`, `revoked`, `expired`. */
  status: string | null
  /** The user who accepted it. */
  userId: string | null
}
export type InvitationState = Versioned<InvitationData>

const PENDING = 'pending'

/** @param implied the status that the event type implies */
export function invitationSnapshot(invitation: ClerkInvitation, origin: Origin, implied = PENDING): InvitationState {
  // The data may be older than the event, so they must not reopen a finished invitation.
  const given = cleanText(invitation.status ?? implied)
  const status = given === PENDING ? implied : given
  return {
    id: cleanText(invitation.id),
    ...originOf(origin, timeOf(invitation.updated_at)),
    createdAt: timeOf(invitation.created_at),
    deletedAt: null,
    rank: status === PENDING ? 0 : 1,
    data: {
      organizationId: textOf(invitation.organization_id),
      email: textOf(invitation.email_address),
      role: textOf(invitation.role),
      status,
      userId: textOf(invitation.user_id),
    },
  }
}

/** The state for an invitation that the Backend API did not know at `askedAt`. */
export const missingInvitation = (id: string, askedAt: number): InvitationState =>
  inferredDeletion(id, askedAt, { organizationId: null, email: null, role: null, status: null, userId: null })

const STATUS_OF = {
  'organizationInvitation.created': PENDING,
  'organizationInvitation.accepted': 'accepted',
  'organizationInvitation.revoked': 'revoked',
}

/** The readers of events about invitations. */
export const invitationEvents: Record<string, EventReader> = Object.fromEntries(
  Object.entries(STATUS_OF).map(([type, implied]) => [
    type,
    eventReader(type, ClerkInvitation, (data, eventAt) => ({
      invitation: invitationSnapshot(data, { eventAt }, implied),
    })),
  ]),
)
