/** The schemas of a user in Clerk's payloads, and in the service's replies. */
import { type Static, type TSchema, Type } from '@sinclair/typebox'
import type { JsonObject } from '../../domain/clean.ts'
import { Id, Maybe, Open, Time } from '../../domain/payload.ts'

const EmailAddress = Open({
  id: Maybe(Type.String()),
  email_address: Maybe(Type.String()),
  verification: Maybe(Open({ status: Maybe(Type.String()) })),
})

const PhoneNumber = Open({ id: Maybe(Type.String()), phone_number: Maybe(Type.String()) })
const Metadata = Maybe(Type.Record(Type.String(), Type.Unknown()))

/** A user in events and the Backend API (`UserJSON` of @clerk/backend). */
export const ClerkUser = Open({
  id: Id,
  email_addresses: Maybe(Type.Array(EmailAddress)),
  primary_email_address_id: Maybe(Type.String()),
  phone_numbers: Maybe(Type.Array(PhoneNumber)),
  primary_phone_number_id: Maybe(Type.String()),
  external_id: Maybe(Type.String()),
  first_name: Maybe(Type.String()),
  last_name: Maybe(Type.String()),
  username: Maybe(Type.String()),
  image_url: Maybe(Type.String()),
  public_metadata: Metadata,
  unsafe_metadata: Metadata,
  private_metadata: Metadata,
  banned: Maybe(Type.Boolean()),
  locked: Maybe(Type.Boolean()),
  deprovisioned: Maybe(Type.Boolean()),
  last_sign_in_at: Maybe(Time),
  created_at: Maybe(Time),
  updated_at: Maybe(Time),
})
export type ClerkUser = Static<typeof ClerkUser>

/** The data of `user.deleted`, which is only an id. */
export const DeletedUser = Open({ id: Id })

// A list of types, which the serializer compiles; for a union it would try the branches one by one.
const Nullable = <T extends TSchema>({ type, ...rest }: T) =>
  Type.Unsafe<Static<T> | null>({ ...rest, type: [type, 'null'] })

export const USER_EXAMPLE = {
  id: 'user_2w5X8yBvTq',
  externalId: 'customer-42',
  email: 'ada@example.com',
  emailVerified: true,
  phoneNumber: '+15555550100',
  firstName: 'Ada',
  lastName: 'Lovelace',
  username: 'ada',
  imageUrl: 'https://img.clerk.com/ada',
  publicMetadata: { plan: 'pro' },
  lastSignInAt: '2026-01-02T03:04:05.678Z',
  createdAt: '2026-01-02T03:04:06.000Z',
  updatedAt: '2026-01-02T03:04:06.000Z',
}

/** The user in the replies of all routes. Times are ISO 8601 in UTC; `createdAt` and `updatedAt` are the row's own. */
export const User = Type.Object(
  {
    id: Type.String({ description: "Clerk's user id" }),
    externalId: Nullable(Type.String({ description: "Clerk's external id: the user's id in another system" })),
    email: Nullable(Type.String({ description: 'The primary email address; null for users without one' })),
    emailVerified: Nullable(Type.Boolean()),
    phoneNumber: Nullable(Type.String({ description: 'The primary phone number' })),
    firstName: Nullable(Type.String()),
    lastName: Nullable(Type.String()),
    username: Nullable(Type.String()),
    imageUrl: Nullable(Type.String()),
    // Not Type.Record: its pattern does not match line breaks, so the reply would lose keys that contain one.
    publicMetadata: Type.Unsafe<JsonObject>(Type.Object({}, { additionalProperties: true })),
    lastSignInAt: Nullable(Type.String({ format: 'date-time' })),
    createdAt: Type.String({ format: 'date-time', description: 'When the row was created' }),
    updatedAt: Type.String({ format: 'date-time', description: 'When the row last changed' }),
  },
  {
    title: 'User',
    examples: [USER_EXAMPLE],
  },
)
export type User = Static<typeof User>
