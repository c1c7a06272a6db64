/** Converts a webhook's body to a change, both for new deliveries and for replays from the ledger. */
import type { Static, TSchema } from '@sinclair/typebox'
import { type TypeCheck, TypeCompiler } from '@sinclair/typebox/compiler'
import { type Change, InvalidEventError, isAhead, type Message, type States } from '../domain/change.ts'
import { cleanText, parseJson } from '../domain/clean.ts'
import { ClerkEnvelope, Time } from '../domain/payload.ts'
import { toMilliseconds, type Version } from '../domain/version.ts'
import { EVENTS } from './index.ts'

/** A change to apply or, for an unusable body, the message to store as failed, with the reason. */
export type ReceivedEvent = { change: Change } | { unusable: Message; reason: string }

/**
 * Reads the body of a delivery with a valid signature.
 * @param delivery the Svix message id, and its timestamp (ms), which is used if the envelope has none
 */
export function readReceivedEvent(
  delivery: { id: string; sentAt: number },
  body: string,
  nowMs: number,
): ReceivedEvent {
  const payload = cleanText(body)
  let event: unknown
  try {
    event = parse(body)
    return { change: changeFromEvent(event, { ...delivery, payload }, nowMs) }
  } catch (error) {
    if (!(error instanceof InvalidEventError)) throw error
    const unusable = unusableMessage(event, delivery, payload)
    if (isAhead(unusable.eventAt as number, nowMs)) unusable.eventAt = delivery.sentAt
    return { unusable, reason: error.message }
  }
}

/**
 * Reduces an event from another Clerk instance to its message without payload, which is ignored.
 * @param instanceId the database's instance, if it is known
 */
export function ignoreForeign(received: ReceivedEvent, instanceId: string | undefined): ReceivedEvent {
  const message = 'change' in received ? received.change.message : received.unusable
  if (!message?.instanceId || instanceId === undefined || message.instanceId === instanceId) return received
  const ignoredFor = `from another Clerk instance: ${message.instanceId}; the database belongs to ${instanceId}`
  return { change: { message: { ...message, payload: '', ignoredFor } } }
}

const envelopeCheck = TypeCompiler.Compile(ClerkEnvelope)
const timeCheck = TypeCompiler.Compile(Time)
const eventChecks = new Map<string, TypeCheck<TSchema>>(
  Object.entries(EVENTS).map(([type, { schema }]) => [type, TypeCompiler.Compile(schema)]),
)

/**
 * Converts a parsed webhook event to a change; an event of an unhandled type becomes only a message, without payload.
 * @param delivery the Svix message id, its timestamp (ms), which is used if the envelope has none, and the body as received
 * @param nowMs to refuse events dated more than a day ahead, which would block every later event
 * @throws InvalidEventError if the event does not match its type's schema, or is from the future
 */
export function changeFromEvent(
  event: unknown,
  delivery: { id: string; sentAt: number; payload: string },
  nowMs: number,
): Change {
  const unknown = readUnknownType(event, delivery)
  if (unknown) return { message: unknown }
  assertSchema(envelopeCheck, event)
  const eventAt = event.timestamp == null ? delivery.sentAt : toMilliseconds(event.timestamp)
  const message: Message = {
    id: cleanText(delivery.id),
    type: cleanText(event.type),
    objectId: idOf(event.data),
    eventAt,
    payload: delivery.payload,
    instanceId: instanceIdOf(event),
    userId: userIdOf(event),
  }
  assertSchema(eventChecks.get(event.type) as TypeCheck<TSchema>, event)
  const states = (EVENTS[event.type] as (typeof EVENTS)[string]).read(event.data, eventAt)
  assertNotAhead(states, eventAt, nowMs)
  return { message, ...states }
}

// Events of unhandled types are not validated, and their payload is not stored.
function readUnknownType(event: unknown, delivery: { id: string; sentAt: number; payload: string }) {
  const { type } = (event ?? {}) as { type?: unknown }
  const isUnknown = typeof type === 'string' && type !== '' && type.length <= 255 && !Object.hasOwn(EVENTS, type)
  return isUnknown ? unusableMessage(event, delivery, '') : undefined
}

function instanceIdOf(event: unknown): string | null {
  const id = (event as { instance_id?: unknown } | null)?.instance_id
  return typeof id === 'string' && id !== '' ? cleanText(id).slice(0, 255) : null
}

/** The user that an event is about; for an unparsable body, the first user id in it. */
function userIdOf(event: unknown, body = ''): string | null {
  const { type, data } = (event ?? {}) as { type?: unknown; data?: Record<string, unknown> | null }
  const nested = (name: string) => (data?.[name] as { id?: unknown; user_id?: unknown } | null | undefined) ?? {}
  const ids = [
    String(type).startsWith('user.') && data?.id,
    data?.user_id,
    nested('user').id,
    nested('public_user_data').user_id,
    ...(typeof data === 'object' && data !== null ? [] : (/user_\w+/.exec(body) ?? [])),
  ]
  const id = ids.find((id) => typeof id === 'string' && id !== '') as string | undefined
  return id === undefined ? null : cleanText(id).slice(0, 255)
}

function idOf(data: unknown): string | null {
  const id = (data as { id?: unknown } | null | undefined)?.id
  return typeof id === 'string' ? cleanText(id) : null
}

function assertSchema<T extends TSchema>(check: TypeCheck<T>, value: unknown): asserts value is Static<T> {
  if (check.Check(value)) return
  const error = check.Errors(value).First()
  throw new InvalidEventError(`${error?.path || '/'}: ${error?.message}`)
}

function assertNotAhead(states: States, eventAt: number, nowMs: number): void {
  const isStateAhead = ({ version }: { version?: Version }) =>
    version !== undefined && isAhead(version.updatedAt, nowMs)
  if (isAhead(eventAt, nowMs) || Object.values(states).some(isStateAhead)) {
    throw new InvalidEventError('dated more than a day ahead')
  }
}

function parse(body: string): unknown {
  try {
    return parseJson(body)
  } catch {
    throw new InvalidEventError('the body is not JSON')
  }
}

// The message of an event that does not match its schema, or of an unhandled type.
function unusableMessage(event: unknown, { id, sentAt }: { id: string; sentAt: number }, payload: string): Message {
  const { type, timestamp, data } = (event ?? {}) as { type?: unknown; timestamp?: unknown; data?: unknown }
  return {
    id: cleanText(id),
    type: typeof type === 'string' ? cleanText(type).slice(0, 255) : 'unknown',
    objectId: idOf(data),
    eventAt: timeCheck.Check(timestamp) ? toMilliseconds(timestamp) : sentAt,
    payload,
    instanceId: instanceIdOf(event),
    userId: userIdOf(event, payload),
  }
}
