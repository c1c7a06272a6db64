/**
 * What Clerk's Backend API of version 2026-05-12 answers, field by field: names, types, and which are always there. Fields that
 * Clerk documents as the only ones (`closed`) must be the only ones here as well.
 * Source: https://github.com/clerk/openapi-specs, bapi/2026-05-12.yml.
 */
import { type TProperties, type TSchema, Type } from '@sinclair/typebox'

const closed = <T extends TProperties>(properties: T) => Type.Object(properties, { additionalProperties: false })
const maybe = <T extends TSchema>(schema: T) => Type.Optional(schema)
const orNull = <T extends TSchema>(schema: T) => Type.Union([schema, Type.Null()])
const oneOf = (...values: string[]) => Type.Union(values.map((value) => Type.Literal(value)))
const text = Type.String()
const textOrNull = orNull(text)
const integer = Type.Integer()
const integerOrNull = orNull(integer)
const flag = Type.Boolean()
const metadata = Type.Record(text, Type.Unknown())
const times = { created_at: integer, updated_at: integer }

const Verification = Type.Union([
  closed({
    object: maybe(oneOf('verification_otp')),
    status: oneOf('unverified', 'verified', 'failed', 'expired'),
    strategy: oneOf('phone_code', 'email_code', 'reset_password_email_code'),
    attempts: integerOrNull,
    expire_at: integerOrNull,
  }),
  closed({
    object: maybe(oneOf('verification_admin')),
    status: oneOf('verified'),
    strategy: oneOf('admin'),
    attempts: integerOrNull,
    expire_at: integerOrNull,
  }),
])
const identification = {
  id: maybe(text),
  reserved: flag,
  verification: orNull(Verification),
  linked_to: Type.Array(closed({ id: text, type: text })),
  ...times,
}

export const User = closed({
  object: oneOf('user'),
  id: text,
  external_id: textOrNull,
  primary_email_address_id: textOrNull,
  primary_phone_number_id: textOrNull,
  primary_web3_wallet_id: textOrNull,
  username: textOrNull,
  first_name: textOrNull,
  last_name: textOrNull,
  locale: maybe(textOrNull),
  profile_image_url: maybe(text),
  image_url: maybe(text),
  has_image: flag,
  public_metadata: metadata,
  private_metadata: maybe(orNull(metadata)),
  unsafe_metadata: maybe(metadata),
  email_addresses: Type.Array(
    closed({
      ...identification,
      object: oneOf('email_address'),
      email_address: text,
      matches_sso_connection: maybe(flag),
    }),
  ),
  phone_numbers: Type.Array(
    closed({
      ...identification,
      object: oneOf('phone_number'),
      phone_number: text,
      reserved_for_second_factor: maybe(flag),
      default_second_factor: maybe(flag),
      backup_codes: maybe(orNull(Type.Array(text))),
    }),
  ),
  web3_wallets: Type.Array(Type.Never()),
  passkeys: Type.Array(Type.Never()),
  external_accounts: Type.Array(Type.Never()),
  saml_accounts: Type.Array(Type.Never()),
  enterprise_accounts: Type.Array(Type.Never()),
  password_enabled: flag,
  two_factor_enabled: flag,
  totp_enabled: flag,
  backup_code_enabled: flag,
  password_last_updated_at: maybe(integerOrNull),
  mfa_enabled_at: integerOrNull,
  mfa_disabled_at: integerOrNull,
  last_sign_in_at: integerOrNull,
  last_active_at: integerOrNull,
  legal_accepted_at: integerOrNull,
  banned: flag,
  locked: flag,
  deprovisioned: maybe(flag),
  lockout_expires_in_seconds: integerOrNull,
  verification_attempts_remaining: integerOrNull,
  delete_self_enabled: flag,
  create_organization_enabled: flag,
  create_organizations_limit: maybe(integerOrNull),
  bypass_client_trust: maybe(flag),
  ...times,
})

export const Users = Type.Array(User)
export const Count = closed({ object: oneOf('total_count'), total_count: integer })
export const Deleted = closed({
  object: text,
  id: maybe(text),
  slug: maybe(text),
  deleted: flag,
  external_id: maybe(text),
})

export const Instance = Type.Object({
  object: oneOf('instance'),
  id: text,
  environment_type: text,
  allowed_origins: orNull(Type.Array(text)),
  workspace_id: textOrNull,
})

export const Errors = Type.Object({
  errors: Type.Array(Type.Object({ message: text, long_message: text, code: text, meta: maybe(metadata) })),
  clerk_trace_id: maybe(text),
})

export const Organization = Type.Object({
  object: oneOf('organization'),
  id: text,
  name: text,
  slug: textOrNull,
  image_url: maybe(text),
  has_image: flag,
  members_count: maybe(integer),
  pending_invitations_count: maybe(integer),
  max_allowed_memberships: integer,
  admin_delete_enabled: flag,
  public_metadata: metadata,
  private_metadata: maybe(metadata),
  // Clerk documents a text; an organization that the Backend API made has no creator.
  created_by: maybe(textOrNull),
  ...times,
})

export const Membership = Type.Object({
  object: oneOf('organization_membership'),
  id: text,
  role: text,
  role_name: maybe(text),
  permissions: Type.Array(text),
  public_metadata: metadata,
  private_metadata: maybe(metadata),
  organization: Organization,
  public_user_data: maybe(
    closed({
      user_id: text,
      first_name: textOrNull,
      last_name: textOrNull,
      profile_image_url: textOrNull,
      image_url: text,
      has_image: flag,
      identifier: maybe(textOrNull),
      username: maybe(text),
      banned: maybe(flag),
      deprovisioned: maybe(flag),
    }),
  ),
  ...times,
})

export const Role = closed({
  object: oneOf('role'),
  id: text,
  name: text,
  key: text,
  description: textOrNull,
  is_creator_eligible: flag,
  permissions: Type.Array(
    Type.Object({
      object: oneOf('permission'),
      id: text,
      name: text,
      key: text,
      description: text,
      type: text,
      ...times,
    }),
  ),
  ...times,
})

const inviter = closed({
  user_id: text,
  first_name: textOrNull,
  last_name: textOrNull,
  image_url: text,
  has_image: flag,
  identifier: text,
})
export const Invitation = closed({
  object: oneOf('organization_invitation'),
  id: text,
  email_address: text,
  role: text,
  role_name: text,
  organization_id: maybe(text),
  inviter_id: textOrNull,
  // Null with the inviter's id: one that an application made has no inviter.
  public_inviter_data: orNull(inviter),
  status: maybe(text),
  public_metadata: metadata,
  private_metadata: maybe(metadata),
  url: textOrNull,
  expires_at: integerOrNull,
  ...times,
})

/** A page of a list with offsets. */
export const pageOf = <T extends TSchema>(item: T) => closed({ data: Type.Array(item), total_count: integer })

export const Session = closed({
  object: oneOf('session'),
  id: text,
  user_id: text,
  client_id: text,
  actor: maybe(orNull(metadata)),
  status: oneOf('active', 'revoked', 'ended', 'expired', 'removed', 'abandoned', 'replaced', 'pending'),
  last_active_organization_id: maybe(textOrNull),
  last_active_at: integer,
  latest_activity: maybe(
    Type.Object({
      object: text,
      id: text,
      device_type: maybe(text),
      is_mobile: flag,
      browser_name: maybe(text),
      browser_version: maybe(text),
      ip_address: maybe(text),
      city: maybe(text),
      country: maybe(text),
    }),
  ),
  expire_at: integer,
  abandon_at: integer,
  ...times,
})

export const Keys = closed({
  keys: Type.Array(Type.Object({ kid: text, alg: text, use: text, kty: oneOf('RSA'), n: text, e: text })),
})
