/** The user as the service answers with it, and as Clerk describes it. */
import { type Static, type TSchema, Type } from '@sinclair/typebox'
import type { JsonObject } from './clean.ts'
import type { Version } from './version.ts'

// As a list of types, which the serializer compiles; of a union it would try one branch after the other.
const Nullable = <T extends TSchema>({ type, ...rest }: T) =>
  Type.Unsafe<Static<T> | null>({ ...rest, type: [type, 'null'] })

export const USER_EXAMPLE = {
  id: 'user_2w5X8yBvTq',
  email: 'ada@example.com',
  emailVerified: true,
  firstName: 'Ada',
  lastName: 'Lovelace',
  username: 'ada',
  imageUrl: 'https://img.clerk.com/ada',
  publicMetadata: { plan: 'pro' },
  lastSignInAt: '2026-01-02T03:04:05.678Z',
  createdAt: '2026-01-02T03:04:06.000Z',
  updatedAt: '2026-01-02T03:04:06.000Z',
}

/** The user as every route answers with it. Times are ISO 8601 in UTC; `createdAt` and `updatedAt` are the row's own. */
export const User = Type.Object(
  {
    id: Type.String({ description: "Clerk's user id" }),
    email: Nullable(Type.String({ description: 'The primary address; null for users who have none' })),
    emailVerified: Nullable(Type.Boolean()),
    firstName: Nullable(Type.String()),
    lastName: Nullable(Type.String()),
    username: Nullable(Type.String()),
    imageUrl: Nullable(Type.String()),
    // No Type.Record: its pattern knows no line breaks, and the reply would lose keys that have one.
    publicMetadata: Type.Unsafe<JsonObject>(Type.Object({}, { additionalProperties: true })),
    lastSignInAt: Nullable(Type.String({ format: 'date-time' })),
    createdAt: Type.String({ format: 'date-time', description: 'When the row was made here' }),
    updatedAt: Type.String({ format: 'date-time', description: 'When something in the row changed last' }),
  },
  {
    title: 'User',
    examples: [USER_EXAMPLE],
  },
)
export type User = Static<typeof User>

/** The columns that hold personal data, and their order in SQL: what a snapshot sets, claims may name, a deletion wipes. */
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
}

/** Where a row's state came from. */
export type SyncSource = 'webhook' | 'clerk_api' | 'session_claims'

/** The whole of a user at one time, as events and the Backend API give it. */
export interface UserSnapshot {
  kind: 'snapshot'
  id: string
  source: SyncSource
  version: Version
  profile: Profile
  banned: boolean
  /** When Clerk created the user, in milliseconds since 1970. */
  clerkCreatedAt: number | null
  /**
   * The row's version that Clerk, asked after it was read, turned out not to have: as long as the row has exactly this one,
   * the snapshot takes its place.
   */
  corrects?: Version | null
}

/** A partial view with an age of its own: what a session token says of its user. */
export interface UserClaims {
  kind: 'claims'
  id: string
  /** Milliseconds since 1970, of whole seconds. */
  issuedAt: number
  /** Only what the token names; a name with the value null is named. */
  profile: Partial<Profile>
}

/** The end of a user. It wins over everything and for ever. */
export interface UserDeletion {
  kind: 'deletion'
  id: string
  /** The timestamp of the event's envelope, in milliseconds since 1970. */
  deletedAt: number
  /** A webhook unless told. */
  source?: SyncSource
}

export type UserChange = UserSnapshot | UserClaims | UserDeletion
