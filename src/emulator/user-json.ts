import { newId } from './ids.ts'
import type { EmailAddress, Metadata, PhoneNumber, User, UserPatch, Verification } from './schemas.ts'

/** How an email address or phone number was verified: by its owner with a code, or by the Backend API caller who created it. */
export type VerificationStrategy = 'code' | 'admin'

/**
 * A user without identifications and name, in Clerk's format.
 *
 * @param createdAtMs becomes `created_at` and `updated_at`
 */
export function blankUser(id: string, createdAtMs: number): User {
  return {
    object: 'user',
    id,
    external_id: null,
    primary_email_address_id: null,
    primary_phone_number_id: null,
    primary_web3_wallet_id: null,
    username: null,
    first_name: null,
    last_name: null,
    locale: null,
    profile_image_url: defaultImageUrl(id),
    image_url: defaultImageUrl(id),
    has_image: false,
    public_metadata: {},
    private_metadata: {},
    unsafe_metadata: {},
    email_addresses: [],
    phone_numbers: [],
    web3_wallets: [],
    passkeys: [],
    password_enabled: false,
    password_last_updated_at: null,
    two_factor_enabled: false,
    totp_enabled: false,
    backup_code_enabled: false,
    mfa_enabled_at: null,
    mfa_disabled_at: null,
    external_accounts: [],
    saml_accounts: [],
    enterprise_accounts: [],
    last_sign_in_at: null,
    banned: false,
    locked: false,
    deprovisioned: false,
    lockout_expires_in_seconds: null,
    verification_attempts_remaining: 100,
    created_at: createdAtMs,
    updated_at: createdAtMs,
    delete_self_enabled: true,
    create_organization_enabled: true,
    create_organizations_limit: null,
    last_active_at: null,
    legal_accepted_at: null,
    bypass_client_trust: false,
  }
}

/**
 * A copy of the user with the patch applied. A new email address or phone number replaces the former primary one.
 *
 * @param atMs the time of the change, for new identifications; the caller sets `updated_at`
 */
export function patchUser(user: User, patch: UserPatch, atMs: number, strategy: VerificationStrategy = 'code'): User {
  const next: User = {
    ...user,
    external_id: patch.externalId === undefined ? user.external_id : patch.externalId,
    username: patch.username === undefined ? user.username : patch.username,
    first_name: patch.firstName === undefined ? user.first_name : patch.firstName,
    last_name: patch.lastName === undefined ? user.last_name : patch.lastName,
    public_metadata: patch.publicMetadata === undefined ? user.public_metadata : patch.publicMetadata,
    private_metadata: patch.privateMetadata === undefined ? user.private_metadata : patch.privateMetadata,
    unsafe_metadata: patch.unsafeMetadata === undefined ? user.unsafe_metadata : patch.unsafeMetadata,
  }
  if (patch.imageUrl !== undefined) {
    next.image_url = patch.imageUrl ?? defaultImageUrl(user.id)
    next.profile_image_url = next.image_url
    next.has_image = patch.imageUrl !== null
  }
  const former = user.email_addresses.find(({ id }) => id === user.primary_email_address_id)
  const primary = patchPrimaryEmail(former, patch, atMs, strategy)
  const others = patch.otherEmails
    ? patch.otherEmails.map((address) => emailAddress(address, true, atMs, strategy))
    : user.email_addresses.filter((address) => address !== former)
  // The primary one comes last, so that tests find code that wrongly takes the first.
  next.email_addresses = primary ? [...others, primary] : others
  next.primary_email_address_id = primary?.id ?? null
  if (patch.phone !== undefined) {
    next.phone_numbers = patch.phone === null ? [] : [phoneNumber(patch.phone, atMs, strategy)]
    next.primary_phone_number_id = next.phone_numbers[0]?.id ?? null
  }
  return next
}

/** The user's primary email address, if there is one. */
export function primaryEmail(user: User): string | undefined {
  return user.email_addresses.find(({ id }) => id === user.primary_email_address_id)?.email_address
}

/**
 * Metadata after `PATCH /v1/users/{id}/metadata`: objects are merged at every level, a null removes its key, and
 * everything else is replaced.
 */
export function mergeMetadata(current: Metadata, patch: Record<string, unknown>): Metadata {
  const merged = new Map(Object.entries(current ?? {}))
  for (const [key, value] of Object.entries(patch)) {
    const former = merged.get(key)
    if (value === null) merged.delete(key)
    else if (isRecord(value)) merged.set(key, mergeMetadata(isRecord(former) ? former : {}, value))
    else merged.set(key, value)
  }
  return Object.fromEntries(merged)
}

/** Whether a value is a JSON object. */
export const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

function patchPrimaryEmail(
  former: EmailAddress | undefined,
  { email, emailVerified }: UserPatch,
  atMs: number,
  strategy: VerificationStrategy,
): EmailAddress | undefined {
  if (email === null) return undefined
  if (email !== undefined) return emailAddress(email, emailVerified ?? true, atMs, strategy)
  if (former === undefined || emailVerified === undefined) return former
  return { ...former, verification: verification(emailVerified, atMs, strategy), updated_at: atMs }
}

function emailAddress(address: string, verified: boolean, atMs: number, strategy: VerificationStrategy): EmailAddress {
  return {
    id: newId('idn', atMs),
    object: 'email_address',
    email_address: address,
    reserved: false,
    verification: verification(verified, atMs, strategy),
    linked_to: [],
    matches_sso_connection: false,
    created_at: atMs,
    updated_at: atMs,
  }
}

function phoneNumber(number: string, atMs: number, strategy: VerificationStrategy): PhoneNumber {
  return {
    id: newId('idn', atMs),
    object: 'phone_number',
    phone_number: number,
    reserved_for_second_factor: false,
    default_second_factor: false,
    reserved: false,
    verification: { ...verification(true, atMs, strategy), strategy: strategy === 'admin' ? 'admin' : 'phone_code' },
    linked_to: [],
    backup_codes: null,
    created_at: atMs,
    updated_at: atMs,
  }
}

function verification(verified: boolean, atMs: number, strategy: VerificationStrategy): Verification {
  const status = verified ? 'verified' : 'unverified'
  if (strategy === 'admin') {
    return { object: 'verification_admin', status, strategy: 'admin', attempts: null, expire_at: null }
  }
  return {
    object: 'verification_otp',
    status,
    strategy: 'email_code',
    attempts: verified ? 1 : 0,
    expire_at: atMs + 10 * 60_000,
  }
}

function defaultImageUrl(userId: string): string {
  const picture = JSON.stringify({ type: 'default', rid: userId })
  return `https://img.clerk.com/${Buffer.from(picture).toString('base64url')}`
}
