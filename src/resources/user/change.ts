/** User changes from events, API objects and claims, and which of two is newer. */
import { cleanJson, cleanText, type JsonObject } from '../../domain/clean.ts'
import { type EventReader, eventReader, textOf, timeOf } from '../../domain/payload.ts'
import type { SessionToken } from '../../domain/session-token.ts'
import { isNewer, type Version } from '../../domain/version.ts'
import { ClerkUser, DeletedUser } from './payload.ts'

declare module '../../domain/change.ts' {
  interface States {
    user?: UserChange
  }
}

/** The columns with personal data, in their SQL order: a snapshot sets them, claims may set some, a deletion clears them. */
export interface Profile {
  email: string | null
  emailVerified: boolean | null
  firstName: string | null
  lastName: string | null
  username: string | null
  imageUrl: string | null
  publicMetadata: JsonObject
  /** Milliseconds since 1970. */
  lastSignInAt: number | null
  externalId: string | null
  phoneNumber: string | null
}

/** The state that only a snapshot contains. */
export interface UserState {
  banned: boolean
  locked: boolean
  deprovisioned: boolean
  unsafeMetadata: JsonObject | null
  privateMetadata: JsonObject | null
}

export const EMPTY_PROFILE: Profile = {
  email: null,
  emailVerified: null,
  firstName: null,
  lastName: null,
  username: null,
  imageUrl: null,
  publicMetadata: {},
  lastSignInAt: null,
  externalId: null,
  phoneNumber: null,
}

export const EMPTY_STATE: UserState = {
  banned: false,
  locked: false,
  deprovisioned: false,
  unsafeMetadata: null,
  privateMetadata: null,
}

/** The source of a row's state. */
export type SyncSource = 'webhook' | 'clerk_api' | 'session_claims'

/** A whole user at one time, from an event or the Backend API. */
export interface UserSnapshot extends UserState {
  kind: 'snapshot'
  id: string
  source: SyncSource
  version: Version
  profile: Profile
  /** When the Backend API was asked, in milliseconds since 1970; undefined counts as now. */
  askedAt?: number
  /** When Clerk created the user, in milliseconds since 1970. */
  clerkCreatedAt: number | null
  /**
   * The row's version, read before Clerk was asked. If Clerk's answer is older, the row is wrong, and the snapshot replaces it
   * unless its version has changed since.
   */
  corrects?: Version | null
}

/** The claims of a session token about its user: a partial view with its own time. */
export interface UserClaims {
  kind: 'claims'
  id: string
  /** Milliseconds since 1970, a multiple of 1,000. */
  issuedAt: number
  /** The session of the token. After it ended its claims are skipped. */
  sessionId?: string | null
  /** `session_claims` by default. */
  source?: SyncSource
  /** Only the columns that the token sets; null is a value. */
  profile: Partial<Profile>
}

/**
 * The deletion of a user. From a webhook it is final. Inferred from the Backend API (`source` is `clerk_api`), it can be undone:
 * if the API lists the user again, or by a later event.
 */
export interface UserDeletion {
  kind: 'deletion'
  id: string
  /** The timestamp of the event's envelope, or when the Backend API was asked; in milliseconds since 1970. */
  deletedAt: number
  /** A webhook by default. */
  source?: SyncSource
}

/** The time of a snapshot to compare with an inferred deletion, in milliseconds since 1970. */
export const saidAt = ({ source, askedAt, version }: UserSnapshot): number =>
  source === 'clerk_api' ? (askedAt ?? Number.POSITIVE_INFINITY) : (version.eventAt ?? Number.NEGATIVE_INFINITY)

export const isInferred = (change: UserChange): boolean => change.kind === 'deletion' && change.source === 'clerk_api'

/** The id of the user whose deletion is final, if this is one. */
export const deletedUserOf = ({ user }: { user?: UserChange }): string | undefined =>
  user?.kind === 'deletion' && !isInferred(user) ? user.id : undefined

export type UserChange = UserSnapshot | UserClaims | UserDeletion

/** The readers of events about users. */
export const userEvents: Record<string, EventReader> = {
  'user.created': eventReader('user.created', ClerkUser, (data, eventAt) => ({
    user: snapshot(data, 'webhook', eventAt),
  })),
  'user.updated': eventReader('user.updated', ClerkUser, (data, eventAt) => ({
    user: snapshot(data, 'webhook', eventAt),
  })),
  'user.deleted': eventReader('user.deleted', DeletedUser, ({ id }, eventAt) => ({
    user: { kind: 'deletion', id: cleanText(id), deletedAt: eventAt },
  })),
}

/**
 * A snapshot of a user from the Backend API, which has no envelope to order equal versions.
 * @param askedAt when the API was asked, in milliseconds since 1970
 */
export function snapshotFromApi(user: ClerkUser, askedAt?: number): UserSnapshot {
  return { ...snapshot(user, 'clerk_api', null), ...(askedAt !== undefined && { askedAt }) }
}

export function snapshot(user: ClerkUser, source: SyncSource, eventAt: number | null): UserSnapshot {
  const primary = user.email_addresses?.find(({ id }) => id != null && id === user.primary_email_address_id)
  const email = textOf(primary?.email_address)
  const phone = user.phone_numbers?.find(({ id }) => id != null && id === user.primary_phone_number_id)
  return {
    kind: 'snapshot',
    id: cleanText(user.id),
    source,
    version: { updatedAt: timeOf(user.updated_at) ?? eventAt ?? 0, eventAt },
    profile: {
      email,
      emailVerified: email === null ? null : primary?.verification?.status === 'verified',
      firstName: textOf(user.first_name),
      lastName: textOf(user.last_name),
      username: textOf(user.username),
      imageUrl: textOf(user.image_url),
      publicMetadata: cleanJson(user.public_metadata ?? {}) as JsonObject,
      lastSignInAt: timeOf(user.last_sign_in_at),
      externalId: textOf(user.external_id),
      phoneNumber: textOf(phone?.phone_number),
    },
    banned: user.banned ?? false,
    locked: user.locked ?? false,
    deprovisioned: user.deprovisioned ?? false,
    unsafeMetadata: metadataOf(user.unsafe_metadata),
    privateMetadata: metadataOf(user.private_metadata),
    clerkCreatedAt: timeOf(user.created_at),
  }
}

const metadataOf = (metadata: JsonObject | null | undefined) =>
  metadata == null ? null : (cleanJson(metadata) as JsonObject)

/** The claims of a session token that describe its user, with alternative names in order of precedence. */
const CLAIM_NAMES = {
  email: ['email', 'primary_email_address', 'primaryEmailAddress', 'email_address', 'emailAddress'],
  emailVerified: ['email_verified', 'emailVerified'],
  firstName: ['first_name', 'firstName', 'given_name', 'givenName'],
  lastName: ['last_name', 'lastName', 'family_name', 'familyName'],
  username: ['username'],
  imageUrl: ['image_url', 'imageUrl', 'picture'],
  publicMetadata: ['public_metadata', 'publicMetadata', 'metadata'],
  externalId: ['external_id', 'externalId'],
  phoneNumber: ['phone_number', 'phoneNumber', 'primary_phone_number', 'primaryPhoneNumber'],
} as const satisfies Partial<Record<keyof Profile, readonly string[]>>

const isText = (value: unknown) => value === null || typeof value === 'string'
const isOfColumn: Record<keyof typeof CLAIM_NAMES, (value: unknown) => boolean> = {
  email: isText,
  emailVerified: (value) => value === null || typeof value === 'boolean',
  firstName: isText,
  lastName: isText,
  username: isText,
  imageUrl: isText,
  publicMetadata: (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
  externalId: isText,
  phoneNumber: isText,
}

const COLUMNS_OF_CLAIMS = Object.keys(CLAIM_NAMES) as (keyof typeof CLAIM_NAMES)[]

const nameOf = (column: keyof typeof CLAIM_NAMES, claims: JsonObject): string | undefined =>
  CLAIM_NAMES[column].find((name) => Object.hasOwn(claims, name) && isOfColumn[column](claims[name]))

/** When a token's claims were true, in ms since 1970, with the precision of seconds like in the tables. */
export const claimsIssuedAt = (issuedAtSeconds: number): number => Math.trunc(issuedAtSeconds) * 1000

/** What a token says about its user; a claim of the wrong type is ignored. */
export function claimsChange({
  userId,
  sessionId,
  claims,
  issuedAtSeconds,
}: Pick<SessionToken, 'userId' | 'sessionId' | 'claims' | 'issuedAtSeconds'>): UserClaims {
  const profile: Record<string, unknown> = {}
  for (const column of COLUMNS_OF_CLAIMS) {
    const name = nameOf(column, claims)
    if (name !== undefined) profile[column] = cleanJson(claims[name])
  }
  return { kind: 'claims', id: userId, sessionId, issuedAt: claimsIssuedAt(issuedAtSeconds), profile }
}

/** Whether claims say anything about the columns of an existing row. */
export const describesUser = (claims: JsonObject): boolean =>
  COLUMNS_OF_CLAIMS.some((column) => nameOf(column, claims) !== undefined)

/**
 * Whether `a` takes precedence over `b`, for the same user: a deletion over anything, otherwise the newer snapshot. Inferred
 * deletions are not part of this order, because PostgreSQL compares them with the row.
 */
export function supersedes(a: UserSnapshot | UserDeletion, b: UserSnapshot | UserDeletion): boolean {
  if (a.kind === 'deletion' || b.kind === 'deletion') return a.kind === 'deletion' && b.kind !== 'deletion'
  return isNewer(a.version, b.version)
}
