/** What may be said of an invitation to an organization. */
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
  /** `pending`, and then one of `accepted`, `revoked`, `expired` for ever. */
  status: string | null
  /** Who accepted it. */
  userId: string | null
}
export type InvitationState = Versioned<InvitationData>

const PENDING = 'pending'

/** @param implied the status that the type of the event stands for */
export function invitationSnapshot(invitation: ClerkInvitation, origin: Origin, implied = PENDING): InvitationState {
  // The data may be older than the event, and never revive what is over.
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

/** The Backend API, asked at that time, does not know the invitation. */
export const missingInvitation = (id: string, askedAt: number): InvitationState =>
  inferredDeletion(id, askedAt, { organizationId: null, email: null, role: null, status: null, userId: null })

const STATUS_OF = {
  'organizationInvitation.created': PENDING,
  'organizationInvitation.accepted': 'accepted',
  'organizationInvitation.revoked': 'revoked',
}

/** How each event type about invitations is read. */
export const invitationEvents: Record<string, EventReader> = Object.fromEntries(
  Object.entries(STATUS_OF).map(([type, implied]) => [
    type,
    eventReader(type, ClerkInvitation, (data, eventAt) => ({
      invitation: invitationSnapshot(data, { eventAt }, implied),
    })),
  ]),
)
