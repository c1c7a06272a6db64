/** Failed webhooks, once more: from their stored bodies, by the code of the intake, through `repository.apply`. */
import type { Change, Message, Outcome } from '../domain/change.ts'
import { readReceivedEvent } from '../resources/received-event.ts'
import type { FailedEvent, FailedEventsCursor, FailedEventsFilter } from './failed-events.ts'
import type { ChangeResult } from './repository.ts'

/** What a replay needs of the repository; that of the app, which applies one change at a time, is one. */
export interface ReplayRepository {
  apply(change: Change): Promise<ChangeResult>
  fail(message: Message, reason: string): Promise<boolean>
  failedEvents(filter: FailedEventsFilter, page: { after?: FailedEventsCursor; limit: number }): Promise<FailedEvent[]>
}

/** What became of a failed message: an outcome of the intake, or why it failed again. */
export type ReplayResult = { event: FailedEvent } & (
  | { outcome: Outcome; error?: undefined }
  | { outcome: 'failed'; error: string }
)

const PAGE = 100

/**
 * Replays one failed message. One that fails again stays in the ledger with the new reason. May be repeated, and may race
 * redeliveries by Svix: a message is applied once. Rejects with `DatabaseUnavailable`.
 */
export async function replayEvent(
  repository: Pick<ReplayRepository, 'apply' | 'fail'>,
  event: FailedEvent,
  nowMs: number,
): Promise<ReplayResult> {
  if (event.payload === null) return { event, outcome: 'failed', error: 'its body was not kept' }
  const sentAt = (event.eventAt ?? event.receivedAt).getTime()
  const received = readReceivedEvent({ id: event.id, sentAt }, event.payload, nowMs)
  if ('unusable' in received) {
    await repository.fail(received.unusable, received.reason)
    return { event, outcome: 'failed', error: received.reason }
  }
  const result = await repository.apply(received.change)
  return 'error' in result
    ? { event, outcome: 'failed', error: result.error.message }
    : { event, outcome: result.outcome }
}

/** Replays the failed messages of a filter one after the other, the oldest first, each of them once. */
export async function* replayFailedEvents(
  repository: ReplayRepository,
  filter: FailedEventsFilter = {},
): AsyncGenerator<ReplayResult> {
  for await (const event of listFailedEvents(repository, filter)) {
    yield await replayEvent(repository, event, Date.now())
  }
}

/** All failed messages of a filter, the oldest first, a page at a time in memory. */
export async function* listFailedEvents(
  repository: Pick<ReplayRepository, 'failedEvents'>,
  filter: FailedEventsFilter = {},
): AsyncGenerator<FailedEvent> {
  let after: FailedEvent | undefined
  do {
    const page = await repository.failedEvents(filter, { after, limit: PAGE })
    yield* page
    after = page.length < PAGE ? undefined : page.at(-1)
  } while (after)
}
