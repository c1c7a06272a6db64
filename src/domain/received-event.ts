/** What a webhook's body stands for, whether it has just come or is replayed from the ledger. */
import { type Change, changeFromEvent, InvalidEventError, type Message } from './change.ts'
import { cleanText, parseJson } from './clean.ts'

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
