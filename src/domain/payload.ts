/**
 * What Clerk's payloads are made of (https://clerk.com/docs/guides/development/webhooks/overview). Schemas name what is used
 * and let every other field through, since Clerk adds fields at any time.
 */
import { type Static, type TProperties, type TSchema, Type } from '@sinclair/typebox'
import type { States } from './change.ts'
import { cleanText } from './clean.ts'
import { toMilliseconds } from './version.ts'

export const Maybe = <T extends TSchema>(schema: T) => Type.Optional(Type.Union([schema, Type.Null()]))
export const Open = <T extends TProperties>(properties: T) => Type.Object(properties, { additionalProperties: true })

/** Milliseconds or, in some payloads, seconds. The maximum ends the year 9999, the last that RFC 3339 can write. */
export const Time = Type.Number({ minimum: 0, maximum: 253_402_300_799_999 })
export const Id = Type.String({ minLength: 1, maxLength: 255 })

/** The envelope of every event; `timestamp` dates events whose data have no `updated_at`. */
export const ClerkEnvelope = Open({
  type: Type.String({ minLength: 1, maxLength: 255 }),
  timestamp: Maybe(Time),
  /** The Clerk instance that sent the event. */
  instance_id: Maybe(Type.String()),
  /** Not validated here, because unknown types may carry anything. */
  data: Type.Optional(Type.Unknown()),
})
export type ClerkEnvelope = Static<typeof ClerkEnvelope>

/** The reader of events of one type. */
export interface EventReader {
  /** The schema of the whole event. */
  schema: TSchema
  /** Converts the event's data and its time (ms) to states. */
  read: (data: unknown, eventAt: number) => States
}

/** Makes the reader of one event type, whose `data` have this schema. */
export function eventReader<T extends TSchema>(
  type: string,
  data: T,
  read: (data: Static<T>, eventAt: number) => States,
): EventReader {
  return {
    schema: Open({ type: Type.Literal(type), timestamp: Maybe(Time), data }),
    read: read as EventReader['read'],
  }
}

/** A text of a payload in a form that PostgreSQL can store. */
export const textOf = (value: string | null | undefined) => (value == null ? null : cleanText(value))
/** A time of a payload in milliseconds. */
export const timeOf = (value: number | null | undefined) => (value == null ? null : toMilliseconds(value))
