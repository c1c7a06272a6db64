/** The schemas of an organization in Clerk's payloads, and in the service's replies. */
import { type Static, type TSchema, Type } from '@sinclair/typebox'
import type { JsonObject } from '../../domain/clean.ts'
import { Id, Maybe, Open, Time } from '../../domain/payload.ts'

/** An organization in events and the Backend API (`OrganizationJSON` of @clerk/backend). */
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

/** The data of `organization.deleted` and `role.deleted`, which is only an id. */
export const DeletedObject = Open({ id: Id })

const Nullable = <T extends TSchema>({ type, ...rest }: T) =>
  Type.Unsafe<Static<T> | null>({ ...rest, type: [type, 'null'] })

export const ORGANIZATION_EXAMPLE = {
  id: 'org_2w5X8yBvTq',
  name: 'Analytical Engines',
  slug: 'analytical-engines',
  imageUrl: 'https://img.clerk.com/engines',
  publicMetadata: { tier: 'gold' },
  role: 'org:admin',
  permissions: ['org:posts:edit', 'org:sys_memberships:manage'],
  joinedAt: '2026-01-02T03:04:05.678Z',
}

/** An organization of which the user is a member, in the reply of `GET /api/auth/organizations`. */
export const Organization = Type.Object(
  {
    id: Type.String({ description: "Clerk's organization id" }),
    name: Nullable(Type.String()),
    slug: Nullable(Type.String()),
    imageUrl: Nullable(Type.String()),
    // Not Type.Record: its pattern does not match line breaks, so the reply would lose keys that contain one.
    publicMetadata: Type.Unsafe<JsonObject>(
      Type.Object({}, { additionalProperties: true, description: 'The public metadata of the organization' }),
    ),
    role: Type.String({ description: "The user's role, such as org:admin" }),
    permissions: Type.Array(Type.String(), { description: "The role's current permissions, sorted" }),
    joinedAt: Type.String({ format: 'date-time' }),
  },
  { title: 'Organization', examples: [ORGANIZATION_EXAMPLE] },
)
export type Organization = Static<typeof Organization>
