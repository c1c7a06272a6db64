/** Applies failed webhooks again: from their stored payloads, with the code that receives webhooks, through `repository.apply`. */
import type { FailedEvent, FailedEventsFilter } from '../db/failed-events.ts'
import type { ChangeResult, Repository } from '../db/repository.ts'
import type { Change, Outcome } from '../domain/change.ts'
import { ignoreForeign, readReceivedEvent } from '../resources/received-event.ts'

/** Applies one change; matches the app's repository, where concurrent changes share a batch. */
type ApplyOne = (change: Change) => Promise<ChangeResult>

/** The result of a replay: an outcome, or why the message failed again. */
export type ReplayResult = { event: FailedEvent } & (
  | { outcome: Outcome; error?: undefined }
  | { outcome: 'failed'; error: string }
)

const PAGE = 100

/**
 * Replays one failed message. If it fails again, it stays in the ledger with the new reason. May be repeated, and may race with
 * redeliveries by Svix: a message is applied once. Rejects with `DatabaseUnavailable`.
 */
export async function replayEvent(
  repository: Pick<Repository, 'fail' | 'instanceId'> & { apply: ApplyOne },
  event: FailedEvent,
  nowMs: number,
): Promise<ReplayResult> {
  if (event.payload === null) return { event, outcome: 'failed', error: 'its payload was not kept' }
  const sentAt = (event.eventAt ?? event.receivedAt).getTime()
  const read = readReceivedEvent({ id: event.id, sentAt }, event.payload, nowMs)
  const received = ignoreForeign(read, await repository.instanceId())
  if ('unusable' in received) {
    await repository.fail(received.unusable, received.reason)
    return { event, outcome: 'failed', error: received.reason }
  }
  const result = await repository.apply(received.change)
  return 'error' in result
    ? { event, outcome: 'failed', error: result.error.message }
    : { event, outcome: result.outcome }
}

/** Replays the failed messages of a filter one by one, oldest first, each once. */
export async function* replayFailedEvents(
  repository: Pick<Repository, 'apply' | 'fail' | 'failedEvents' | 'instanceId'>,
  filter: FailedEventsFilter = {},
): AsyncGenerator<ReplayResult> {
  const apply: ApplyOne = async (change) => (await repository.apply([change]))[0] as ChangeResult
  for await (const event of listFailedEvents(repository, filter)) {
    yield await replayEvent({ ...repository, apply }, event, Date.now())
  }
}

/** Yields all failed messages of a filter, oldest first, with one page in memory at a time. */
export async function* listFailedEvents(
  repository: Pick<Repository, 'failedEvents'>,
  filter: FailedEventsFilter = {},
): AsyncGenerator<FailedEvent> {
  let after: FailedEvent | undefined
  do {
    const page = await repository.failedEvents(filter, { after, limit: PAGE })
    yield* page
    after = page.length < PAGE ? undefined : page.at(-1)
  } while (after)
}
