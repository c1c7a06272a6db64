/** What a webhook's body stands for, whether it has just come or is replayed from the ledger. */
import type { Static, TSchema } from '@sinclair/typebox'
import { type TypeCheck, TypeCompiler } from '@sinclair/typebox/compiler'
import { type Change, InvalidEventError, isAhead, type Message, type States } from '../domain/change.ts'
import { cleanText, parseJson } from '../domain/clean.ts'
import { ClerkEnvelope } from '../domain/payload.ts'
import { toMilliseconds, type Version } from '../domain/version.ts'
import { EVENTS } from './index.ts'

/** A change to apply; or, of a body that cannot be used, the message to keep as failed and why. */
export type ReceivedEvent = { change: Change } | { unusable: Message; reason: string }

/**
 * Reads the body of a well-signed delivery.
 * @param delivery the Svix message id, and its timestamp (ms, dates an envelope without one)
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
    return { unusable: unusableMessage(event, delivery, payload), reason: error.message }
  }
}

const envelopeCheck = TypeCompiler.Compile(ClerkEnvelope)
const eventChecks = new Map<string, TypeCheck<TSchema>>(
  Object.entries(EVENTS).map(([type, { schema }]) => [type, TypeCompiler.Compile(schema)]),
)

/**
 * The change that a parsed webhook event stands for; an event of a type not handled becomes a message alone.
 * @param delivery the Svix message id, its timestamp (ms, dates an envelope without one) and the body as it came
 * @param nowMs to refuse what is dated more than a day ahead, which would shut out every later event
 * @throws InvalidEventError when the event is not of its type's schema, or from the future
 */
export function changeFromEvent(
  event: unknown,
  delivery: { id: string; sentAt: number; payload: string },
  nowMs: number,
): Change {
  assertSchema(envelopeCheck, event)
  const eventAt = event.timestamp == null ? delivery.sentAt : toMilliseconds(event.timestamp)
  const message: Message = {
    id: cleanText(delivery.id),
    type: cleanText(event.type),
    objectId: idOf(event.data),
    eventAt,
    payload: delivery.payload,
  }
  const check = eventChecks.get(event.type)
  if (!check) return { message }
  assertSchema(check, event)
  const states = (EVENTS[event.type] as (typeof EVENTS)[string]).read(event.data, eventAt)
  assertNotAhead(states, eventAt, nowMs)
  return { message, ...states }
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
  const versions = Object.values(states).flatMap((state) => (state as { version?: Version }).version ?? [])
  if ([eventAt, ...versions.map(({ updatedAt }) => updatedAt)].some((date) => isAhead(date, nowMs))) {
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

// What can be said of an event whose schema is wrong.
function unusableMessage(event: unknown, { id, sentAt }: { id: string; sentAt: number }, payload: string): Message {
  const { type, data } = (event ?? {}) as { type?: unknown; data?: { id?: unknown } | null }
  return {
    id,
    type: typeof type === 'string' ? cleanText(type).slice(0, 255) : 'unknown',
    objectId: typeof data?.id === 'string' ? cleanText(data.id) : null,
    eventAt: sentAt,
    payload,
  }
}
