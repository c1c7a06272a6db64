/**
 * The objects of a Clerk instance, in Clerk's format. All times are Unix milliseconds unless a name says seconds.
 *
 * - user: an account, as in `GET /v1/users/{id}` and `user.*` events
 * - identification (`idn_…`): a way to reach a user, such as an email address; one of each kind is primary
 * - session (`sess_…`): one sign-in of one user on one client
 * - message (`msg_…`): an event for an endpoint; Svix makes attempts until one is answered with a 2xx
 *
 * Source: Clerk's OpenAPI documents, bapi/2026-05-12.yml and webhooks/2025-04-15.yml of
 * https://github.com/clerk/openapi-specs.
 */
import { type Static, type TSchema, Type } from '@sinclair/typebox'

const Nullable = <T extends TSchema>(schema: T) => Type.Union([schema, Type.Null()])
// Null is rare but possible: an application can store it through the Backend API.
const Metadata = Nullable(Type.Record(Type.String(), Type.Unknown()))
export type Metadata = Static<typeof Metadata>

export const Verification = Type.Object({
  object: Type.String(),
  status: Type.Union([Type.Literal('verified'), Type.Literal('unverified')]),
  strategy: Type.String(),
  attempts: Nullable(Type.Integer()),
  expire_at: Nullable(Type.Integer()),
})
export type Verification = Static<typeof Verification>

const Identification = {
  id: Type.String(),
  reserved: Type.Boolean(),
  verification: Nullable(Verification),
  linked_to: Type.Array(Type.Object({ id: Type.String(), type: Type.String() })),
  created_at: Type.Integer(),
  updated_at: Type.Integer(),
}

export const EmailAddress = Type.Object({
  ...Identification,
  object: Type.Literal('email_address'),
  email_address: Type.String(),
  matches_sso_connection: Type.Boolean(),
})
export type EmailAddress = Static<typeof EmailAddress>

export const PhoneNumber = Type.Object({
  ...Identification,
  object: Type.Literal('phone_number'),
  phone_number: Type.String(),
  reserved_for_second_factor: Type.Boolean(),
  default_second_factor: Type.Boolean(),
  backup_codes: Nullable(Type.Array(Type.String())),
})
export type PhoneNumber = Static<typeof PhoneNumber>

export const User = Type.Object({
  object: Type.Literal('user'),
  id: Type.String(),
  external_id: Nullable(Type.String()),
  primary_email_address_id: Nullable(Type.String()),
  primary_phone_number_id: Nullable(Type.String()),
  primary_web3_wallet_id: Type.Null(),
  username: Nullable(Type.String()),
  first_name: Nullable(Type.String()),
  last_name: Nullable(Type.String()),
  locale: Nullable(Type.String()),
  profile_image_url: Type.String({ deprecated: true }),
  image_url: Type.String(),
  has_image: Type.Boolean(),
  public_metadata: Metadata,
  private_metadata: Metadata,
  unsafe_metadata: Metadata,
  email_addresses: Type.Array(EmailAddress),
  phone_numbers: Type.Array(PhoneNumber),
  web3_wallets: Type.Array(Type.Unknown()),
  passkeys: Type.Array(Type.Unknown()),
  password_enabled: Type.Boolean(),
  password_last_updated_at: Nullable(Type.Integer()),
  two_factor_enabled: Type.Boolean(),
  totp_enabled: Type.Boolean(),
  backup_code_enabled: Type.Boolean(),
  mfa_enabled_at: Nullable(Type.Integer()),
  mfa_disabled_at: Nullable(Type.Integer()),
  external_accounts: Type.Array(Type.Unknown()),
  saml_accounts: Type.Array(Type.Unknown()),
  enterprise_accounts: Type.Array(Type.Unknown()),
  last_sign_in_at: Nullable(Type.Integer()),
  banned: Type.Boolean(),
  locked: Type.Boolean(),
  deprovisioned: Type.Boolean(),
  lockout_expires_in_seconds: Nullable(Type.Integer()),
  verification_attempts_remaining: Nullable(Type.Integer()),
  created_at: Type.Integer(),
  updated_at: Type.Integer(),
  delete_self_enabled: Type.Boolean(),
  create_organization_enabled: Type.Boolean(),
  create_organizations_limit: Nullable(Type.Integer()),
  last_active_at: Nullable(Type.Integer()),
  legal_accepted_at: Nullable(Type.Integer()),
  bypass_client_trust: Type.Boolean(),
})
export type User = Static<typeof User>

export const DeletedUser = Type.Object({
  object: Type.Literal('user'),
  id: Type.String(),
  deleted: Type.Literal(true),
  external_id: Type.Optional(Type.String()),
})
export type DeletedUser = Static<typeof DeletedUser>

export const SessionStatus = Type.Union([
  Type.Literal('active'),
  Type.Literal('pending'),
  Type.Literal('ended'),
  Type.Literal('removed'),
  Type.Literal('revoked'),
])
export type SessionStatus = Static<typeof SessionStatus>

export const Session = Type.Object({
  object: Type.Literal('session'),
  id: Type.String(),
  user_id: Type.String(),
  client_id: Type.String(),
  actor: Type.Null(),
  status: SessionStatus,
  last_active_organization_id: Nullable(Type.String()),
  last_active_at: Type.Integer(),
  latest_activity: Type.Object({
    object: Type.Literal('session_activity'),
    id: Type.String(),
    device_type: Type.String(),
    is_mobile: Type.Boolean(),
    browser_name: Type.String(),
    browser_version: Type.String(),
    ip_address: Type.String(),
    city: Type.String(),
    country: Type.String(),
  }),
  expire_at: Type.Integer(),
  abandon_at: Type.Integer(),
  created_at: Type.Integer(),
  updated_at: Type.Integer(),
})
export type Session = Static<typeof Session>

const profile = {
  email: Type.Optional(Nullable(Type.String({ description: 'The primary email address' }))),
  emailVerified: Type.Optional(Type.Boolean()),
  otherEmails: Type.Optional(
    Type.Array(Type.String(), { description: 'Further addresses, which are listed before the primary one' }),
  ),
  phone: Type.Optional(Nullable(Type.String())),
  username: Type.Optional(Nullable(Type.String())),
  firstName: Type.Optional(Nullable(Type.String())),
  lastName: Type.Optional(Nullable(Type.String())),
  imageUrl: Type.Optional(Nullable(Type.String())),
  externalId: Type.Optional(Nullable(Type.String())),
  publicMetadata: Type.Optional(Metadata),
  privateMetadata: Type.Optional(Metadata),
  unsafeMetadata: Type.Optional(Metadata),
}

/** The fields that `updateUser` can change; a missing field stays unchanged, null clears it. */
export const UserPatch = Type.Object(profile)
export type UserPatch = Static<typeof UserPatch>

/** The fields that `createUser` can set; without email, phone and username the user gets a generated email address. */
export const UserAttributes = Type.Object({
  ...profile,
  id: Type.Optional(Type.String()),
  createdAt: Type.Optional(Type.Integer()),
})
export type UserAttributes = Static<typeof UserAttributes>

export const Attempt = Type.Object({
  at: Type.Integer({ description: 'The time of the attempt, Unix ms' }),
  status: Nullable(Type.Integer({ description: 'The HTTP status; null without an answer' })),
  body: Type.Optional(Type.String({ description: 'The start of the answer, or the network error' })),
})
export type Attempt = Static<typeof Attempt>

export const DeliveryState = Type.Union([
  Type.Literal('pending', { description: 'in transit, or waiting for its next attempt' }),
  Type.Literal('held', { description: 'waiting for release()' }),
  Type.Literal('delivered', { description: 'answered with a 2xx' }),
  Type.Literal('failed', { description: 'given up after the last attempt' }),
  Type.Literal('dropped', { description: 'dropped by dropNext()' }),
  Type.Literal('skipped', { description: 'there was no endpoint, or it was disabled' }),
])
export type DeliveryState = Static<typeof DeliveryState>

export const Delivery = Type.Object({
  id: Type.String({ description: 'The Svix message id' }),
  type: Type.String(),
  state: DeliveryState,
  attempts: Type.Array(Attempt),
  body: Type.String({ description: 'The raw body, exactly as sent' }),
})
export type Delivery = Static<typeof Delivery>
