/** `replay`: applies failed webhooks again, with the code that receives webhooks. */
import type { FailedEvent, FailedEventsFilter } from '../db/failed-events.ts'
import type { Repository } from '../db/repository.ts'
import { listFailedEvents, replayFailedEvents } from '../jobs/replay.ts'
import { type Context, EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED, withDatabase } from './context.ts'
import { columns, count, countOf } from './output.ts'

export interface ReplayFlags {
  list?: boolean
  /** Only together with `id`. */
  discard?: boolean
  since?: Date
  type?: string
  id?: string[]
}

export async function runReplay(context: Context, { list, discard, since, type, id }: ReplayFlags): Promise<number> {
  const filter = { since, type, ids: id, isWaiting: list }
  if (discard) return withDatabase(context, ({ repository }) => discardThem(context, repository, id as string[]))
  return withDatabase(context, ({ repository }) =>
    list ? listThem(context, repository, filter) : replayThem(context, repository, filter),
  )
}

async function listThem({ output }: Context, repository: Repository, filter: FailedEventsFilter): Promise<number> {
  const events: Omit<FailedEvent, 'payload'>[] = []
  for await (const { payload: _personal, ...event } of listFailedEvents(repository, filter)) events.push(event)
  output.result({ events }, [
    ...columns(
      events.map((event) => [
        event.receivedAt.toISOString(),
        event.id,
        event.type,
        orDash(event.objectId),
        orDash(event.error),
      ]),
    ),
    `${countOf(events.length, 'failed event')}.`,
  ])
  return EXIT_DONE
}

async function discardThem({ output }: Context, repository: Repository, ids: string[]): Promise<number> {
  const discarded = await repository.discard(ids)
  const unknown = ids.filter((id) => !discarded.includes(id))
  output.result({ discarded, unknown }, [
    `${countOf(discarded.length, 'failed event')} discarded.`,
    ...unknown.map((id) => `${id} is not a failed event.`),
  ])
  return unknown.length > 0 ? EXIT_FAILED : EXIT_DONE
}

async function replayThem(context: Context, repository: Repository, filter: FailedEventsFilter): Promise<number> {
  const { output, signal } = context
  const results: { id: string; type: string; objectId: string | null; outcome: string; error?: string }[] = []
  let trouble: unknown
  try {
    for await (const { event, outcome, error } of replayFailedEvents(repository, filter)) {
      results.push({ id: event.id, type: event.type, objectId: event.objectId, outcome, error })
      output.progress(`${count(results.length)} replayed`, { replayed: results.length })
      if (signal.aborted) break
    }
  } catch (error) {
    if (results.length === 0) throw error
    // Replayed events are no longer listed as failed, so this is the only chance to report them.
    trouble = error
  }
  const failed = results.filter(({ outcome }) => outcome === 'failed').length
  const isStopped = signal.aborted || trouble !== undefined
  const unknown = isStopped ? [] : (filter.ids ?? []).filter((id) => !results.some((result) => result.id === id))
  output.result({ isComplete: !isStopped, replayed: results.length, failed, unknown, results }, [
    ...columns(
      results.map(({ id, type, objectId, outcome, error }) => [id, type, orDash(objectId), outcome, orDash(error)]),
    ),
    `${countOf(results.length, 'event')} replayed, ${count(failed)} failed again.`,
    ...unknown.map((id) => `${id} is not a failed event.`),
  ])
  if (trouble !== undefined) throw trouble
  if (signal.aborted) return EXIT_INTERRUPTED
  return failed + unknown.length > 0 ? EXIT_FAILED : EXIT_DONE
}

const orDash = (text: string | null | undefined) => text ?? '–'
