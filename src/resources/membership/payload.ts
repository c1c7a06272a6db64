/** The schemas of a membership in Clerk's payloads. */
import { type Static, Type } from '@sinclair/typebox'
import { Id, Maybe, Open, Time } from '../../domain/payload.ts'
import { ClerkOrganization } from '../organization/payload.ts'

/** The user's part of a membership. */
export const PublicUserData = Open({
  user_id: Id,
  first_name: Maybe(Type.String()),
  last_name: Maybe(Type.String()),
  image_url: Maybe(Type.String()),
  identifier: Maybe(Type.String()),
  username: Maybe(Type.String()),
})
export type PublicUserData = Static<typeof PublicUserData>

const common = {
  id: Id,
  permissions: Maybe(Type.Array(Type.String())),
  public_metadata: Maybe(Type.Record(Type.String(), Type.Unknown())),
  created_at: Maybe(Time),
  updated_at: Maybe(Time),
}

/** A membership in events and the Backend API (`OrganizationMembershipJSON` of @clerk/backend). */
export const ClerkMembership = Open({
  ...common,
  role: Type.String({ minLength: 1 }),
  organization: ClerkOrganization,
  public_user_data: PublicUserData,
})
export type ClerkMembership = Static<typeof ClerkMembership>

/** The data of an ended membership: the whole object, but only its id is required. */
export const EndedMembership = Open({
  ...common,
  role: Maybe(Type.String()),
  organization: Maybe(ClerkOrganization),
  public_user_data: Maybe(PublicUserData),
})
export type EndedMembership = Static<typeof EndedMembership>
