/** The organization as Clerk describes it. */
import { type Static, Type } from '@sinclair/typebox'
import { Id, Maybe, Open, Time } from '../../domain/payload.ts'

/** An organization as events and the Backend API give it (`OrganizationJSON` of @clerk/backend). */
export const ClerkOrganization = Open({
  id: Id,
  name: Maybe(Type.String()),
  slug: Maybe(Type.String()),
  image_url: Maybe(Type.String()),
  public_metadata: Maybe(Type.Record(Type.String(), Type.Unknown())),
  created_by: Maybe(Type.String()),
  created_at: Maybe(Time),
  updated_at: Maybe(Time),
})
export type ClerkOrganization = Static<typeof ClerkOrganization>

/** What `organization.deleted` and `role.deleted` say: no more than that. */
export const DeletedObject = Open({ id: Id })
