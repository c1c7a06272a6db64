/** Organizations in Clerk's format: bapi/2026-05-12.yml and webhooks/2025-04-15.yml of https://github.com/clerk/openapi-specs. */
import { type Static, Type } from '@sinclair/typebox'

const Metadata = Type.Record(Type.String(), Type.Unknown())
const times = { created_at: Type.Integer(), updated_at: Type.Integer() }
const NullableText = Type.Union([Type.String(), Type.Null()])

export const Organization = Type.Object({
  object: Type.Literal('organization'),
  id: Type.String(),
  name: Type.String(),
  slug: NullableText,
  image_url: Type.String(),
  has_image: Type.Boolean(),
  members_count: Type.Integer(),
  pending_invitations_count: Type.Integer(),
  max_allowed_memberships: Type.Integer(),
  admin_delete_enabled: Type.Boolean(),
  public_metadata: Metadata,
  private_metadata: Metadata,
  created_by: NullableText,
  ...times,
})
export type Organization = Static<typeof Organization>

export const Role = Type.Object({
  object: Type.Literal('role'),
  id: Type.String(),
  key: Type.String(),
  name: Type.String(),
  description: NullableText,
  is_creator_eligible: Type.Boolean(),
  permissions: Type.Array(
    Type.Object({
      object: Type.Literal('permission'),
      id: Type.String(),
      key: Type.String(),
      name: Type.String(),
      description: Type.String(),
      type: Type.String(),
      ...times,
    }),
  ),
  ...times,
})
export type Role = Static<typeof Role>

export const Membership = Type.Object({
  object: Type.Literal('organization_membership'),
  id: Type.String(),
  role: Type.String(),
  role_name: Type.String(),
  permissions: Type.Array(Type.String()),
  public_metadata: Metadata,
  private_metadata: Metadata,
  organization: Organization,
  public_user_data: Type.Object({
    user_id: Type.String(),
    first_name: NullableText,
    last_name: NullableText,
    profile_image_url: NullableText,
    image_url: Type.String(),
    has_image: Type.Boolean(),
    identifier: NullableText,
  }),
  ...times,
})
export type Membership = Static<typeof Membership>

export const Invitation = Type.Object({
  object: Type.Literal('organization_invitation'),
  id: Type.String(),
  email_address: Type.String(),
  role: Type.String(),
  role_name: Type.String(),
  organization_id: Type.String(),
  inviter_id: NullableText,
  status: Type.String(),
  user_id: Type.Optional(Type.String()),
  public_metadata: Metadata,
  private_metadata: Metadata,
  url: NullableText,
  expires_at: Type.Integer(),
  ...times,
})
export type Invitation = Static<typeof Invitation>

export const OrganizationPatch = Type.Partial(
  Type.Object({
    name: Type.String({ minLength: 1 }),
    slug: NullableText,
    public_metadata: Metadata,
    created_by: Type.String(),
  }),
)
export type OrganizationPatch = Static<typeof OrganizationPatch>

export const MembershipPatch = Type.Partial(Type.Object({ role: Type.String(), public_metadata: Metadata }))
export type MembershipPatch = Static<typeof MembershipPatch>

export const RolePatch = Type.Partial(
  Type.Object({ key: Type.String(), name: Type.String(), permissions: Type.Array(Type.String()) }),
)
export type RolePatch = Static<typeof RolePatch>

const DAY_MS = 86_400_000

export const newOrganization = (id: string, patch: OrganizationPatch, now: number): Organization => ({
  object: 'organization',
  id,
  name: patch.name ?? 'Acme',
  slug: patch.slug === undefined ? slugOf(patch.name ?? 'Acme') : patch.slug,
  image_url: `https://img.clerk.com/${id}`,
  has_image: false,
  members_count: 0,
  pending_invitations_count: 0,
  max_allowed_memberships: 0,
  admin_delete_enabled: true,
  public_metadata: patch.public_metadata ?? {},
  private_metadata: {},
  created_by: patch.created_by ?? null,
  created_at: now,
  updated_at: now,
})

const slugOf = (name: string) => name.toLowerCase().replace(/[^a-z0-9]+/g, '-')

export const permissionJson = (id: string, key: string, now: number): Role['permissions'][number] => ({
  object: 'permission',
  id,
  key,
  name: key,
  description: '',
  type: key.startsWith('org:sys_') ? 'system' : 'custom',
  created_at: now,
  updated_at: now,
})

export const newInvitation = (
  fields: Pick<Invitation, 'id' | 'email_address' | 'role' | 'role_name' | 'organization_id'>,
  now: number,
): Invitation => ({
  object: 'organization_invitation',
  ...fields,
  inviter_id: null,
  status: 'pending',
  public_metadata: {},
  private_metadata: {},
  url: 'https://accounts.example.com/accept-invitation',
  expires_at: now + 30 * DAY_MS,
  created_at: now,
  updated_at: now,
})

/** An invitation as the Backend API answers it: only events contain the user who accepted it. The emulator sets no inviter. */
export const invitationAnswer = ({ user_id: _, ...invitation }: Invitation) => ({
  ...invitation,
  public_inviter_data: null,
})

/** The claims of a token whose session has this organization active, in version 2. System permissions are never in tokens. */
export function organizationClaims({ id, slug }: Organization, role: string, permissions: readonly string[]) {
  const custom = permissions.filter((key) => !key.startsWith('org:sys_')).map((key) => key.split(':'))
  const features = [...new Set(custom.map(([, feature]) => feature as string))]
  const actions = [...new Set(custom.map(([, , action]) => action as string))]
  const bitsOf = (feature: string) =>
    custom
      .filter(([, of]) => of === feature)
      .reduce((bits, [, , action]) => bits + 2 ** actions.indexOf(action as string), 0)
  return {
    ...(features.length > 0 && { fea: features.map((feature) => `o:${feature}`).join() }),
    o: {
      id,
      ...(slug !== null && { slg: slug }),
      rol: role.replace(/^org:/, ''),
      ...(features.length > 0 && { per: actions.join(), fpm: features.map(bitsOf).join() }),
    },
  }
}

/** Now, but later than the time before, because a version must grow even within one millisecond. */
export const later = (nowMs: number, beforeMs: number): number => Math.max(nowMs, beforeMs + 1)
