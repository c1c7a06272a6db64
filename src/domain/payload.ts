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
  /** The Clerk instance that it happened in. */
  instance_id: Maybe(Type.String()),
  /** Of types that change nothing here, whatever it is. */
  data: Type.Optional(Type.Unknown()),
})
export type ClerkEnvelope = Static<typeof ClerkEnvelope>

/** How events of one type are read. */
export interface EventReader {
  /** Of the whole event. */
  schema: TSchema
  /** What the event says, given its data and when it happened (ms). */
  read: (data: unknown, eventAt: number) => States
}

/** Makes the reader of one event type, whose `data` are of this schema. */
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

/** A text of a payload as PostgreSQL can keep it. */
export const textOf = (value: string | null | undefined) => (value == null ? null : cleanText(value))
/** A time of a payload in milliseconds. */
export const timeOf = (value: number | null | undefined) => (value == null ? null : toMilliseconds(value))
