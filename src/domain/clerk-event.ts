/**
 * TypeBox schemas of what Clerk sends: webhook events (https://clerk.com/docs/guides/development/webhooks/overview) and
 * users of the Backend API. They name what is used and let every other field through, since Clerk adds fields at any time.
 */
import { type Static, type TProperties, type TSchema, Type } from '@sinclair/typebox'

const Maybe = <T extends TSchema>(schema: T) => Type.Optional(Type.Union([schema, Type.Null()]))
const Open = <T extends TProperties>(properties: T) => Type.Object(properties, { additionalProperties: true })

// Milliseconds or, in some payloads, seconds. The maximum ends the year 9999, the last that RFC 3339 can write.
const Time = Type.Number({ minimum: 0, maximum: 253_402_300_799_999 })
const Id = Type.String({ minLength: 1, maxLength: 255 })

const EmailAddress = Open({
  id: Maybe(Type.String()),
  email_address: Maybe(Type.String()),
  verification: Maybe(Open({ status: Maybe(Type.String()) })),
})

/** A user as events and the Backend API give it (`UserJSON` of @clerk/backend). */
export const ClerkUser = Open({
  id: Id,
  email_addresses: Maybe(Type.Array(EmailAddress)),
  primary_email_address_id: Maybe(Type.String()),
  first_name: Maybe(Type.String()),
  last_name: Maybe(Type.String()),
  username: Maybe(Type.String()),
  image_url: Maybe(Type.String()),
  public_metadata: Maybe(Type.Record(Type.String(), Type.Unknown())),
  banned: Maybe(Type.Boolean()),
  last_sign_in_at: Maybe(Time),
  created_at: Maybe(Time),
  updated_at: Maybe(Time),
})
export type ClerkUser = Static<typeof ClerkUser>

/** What `user.deleted` says: no more than that. */
const DeletedUser = Open({ id: Id })

/** A session as events give it; `user` may be null or missing. */
const ClerkSession = Open({
  id: Id,
  user_id: Id,
  status: Maybe(Type.String({ minLength: 1 })),
  client_id: Maybe(Type.String()),
  last_active_at: Maybe(Time),
  expire_at: Maybe(Time),
  abandon_at: Maybe(Time),
  created_at: Maybe(Time),
  updated_at: Maybe(Time),
  user: Maybe(ClerkUser),
})

/** The envelope of every event; `timestamp` dates events whose data have no `updated_at`. */
export const ClerkEnvelope = Open({
  type: Type.String({ minLength: 1, maxLength: 255 }),
  timestamp: Maybe(Time),
  /** Of types that change nothing here, whatever it is. */
  data: Type.Optional(Type.Unknown()),
})
export type ClerkEnvelope = Static<typeof ClerkEnvelope>

const Event = <T extends string, D extends TSchema>(type: T, data: D) =>
  Open({ type: Type.Literal(type), timestamp: Maybe(Time), data })

/** The schema of each event type that changes something here. Every other type is ledgered as ignored. */
export const EVENT_SCHEMAS = {
  'user.created': Event('user.created', ClerkUser),
  'user.updated': Event('user.updated', ClerkUser),
  'user.deleted': Event('user.deleted', DeletedUser),
  'session.created': Event('session.created', ClerkSession),
  'session.pending': Event('session.pending', ClerkSession),
  'session.ended': Event('session.ended', ClerkSession),
  'session.removed': Event('session.removed', ClerkSession),
  'session.revoked': Event('session.revoked', ClerkSession),
}
export type HandledEventType = keyof typeof EVENT_SCHEMAS
export type HandledEvent = { [T in HandledEventType]: Static<(typeof EVENT_SCHEMAS)[T]> }[HandledEventType]

/** Whether events of this type change something here. */
export const isHandled = (type: string): type is HandledEventType => Object.hasOwn(EVENT_SCHEMAS, type)
