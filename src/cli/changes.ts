/** `changes`: the change feed and its consumers. */
import { type DeadLetter, type DeadLetterFilter, findDeadLetters, reviveDeadLetters } from '../db/changes/consumers.ts'
import { findLatest } from '../db/changes/read.ts'
import { findChangesStatus, MAX_COUNTED } from '../db/changes/status.ts'
import type { Pool } from '../db/pool.ts'
import { type FeedChange, fromCursor, type Position, START, toCursor } from '../domain/feed.ts'
import { describeDelay, describeUnrecorded } from '../domain/feed-delay.ts'
import { watchChanges } from '../jobs/watch-changes.ts'
import { type Context, EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_WRONG_USAGE, withDatabase } from './context.ts'
import { columns, count, countOf, duration } from './output.ts'

export interface TailFlags {
  after?: string
  /** False stops at the newest change. */
  follow?: boolean
}

const PAGE = 1_000

/** Prints changes as they happen, until it is interrupted. */
export async function runTail(context: Context, { after = 'latest', follow = true }: TailFlags): Promise<number> {
  const { output, signal, config } = context
  return withDatabase(context, async ({ pool }) => {
    let place = await placeOf(pool, after)
    if (!place) {
      output.note('--after is not a cursor of the feed: use one that the feed returned, oldest, or latest')
      return EXIT_WRONG_USAGE
    }
    let hasGap = false
    const onTrouble = (error: unknown) => output.note(`the feed cannot be read, trying again: ${String(error)}`)
    const watch = watchChanges({ pool, connectionString: config.DATABASE_URL, onTrouble })
    try {
      for (;;) {
        const page = await watch.read(place, PAGE)
        if (page.isExpired && after !== 'oldest') {
          hasGap = true
          output.note('Some changes after this cursor are no longer kept: compare your data with the tables.')
        }
        const print = ({ change, position }: (typeof page.entries)[number]) =>
          output.line({ ...change, cursor: toCursor(position) }, describe(change))
        page.entries.forEach(print)
        place = page.next
        if (page.hasMore) continue
        if (!follow) return hasGap ? EXIT_FAILED : EXIT_DONE
        const more = await watch.wait(place, PAGE, signal)
        if (!more) return EXIT_INTERRUPTED
        more.entries.forEach(print)
        place = more.next
      }
    } finally {
      await watch.end()
    }
  })
}

async function placeOf(pool: Pool, after: string): Promise<Position | undefined> {
  if (after === 'oldest') return START
  return after === 'latest' ? findLatest(pool) : fromCursor(after)
}

const describe = ({ id, entity, entityId, op, changed, cause, occurredAt }: FeedChange) =>
  [occurredAt, id, `${entity}.${op}`, entityId, changed.join(',') || '–', cause ?? '–'].join('  ')

/** Prints how far each consumer is. */
export async function runStatus(context: Context): Promise<number> {
  return withDatabase(context, async ({ pool }) => {
    const { consumers, unrecorded, delay } = await findChangesStatus(pool)
    const deadLetters = await findDeadLetters(pool)
    context.output.result({ consumers, unrecorded, delay, deadLetters }, [
      ...columns([
        ['consumer', 'behind', 'lag', 'waiting', 'given up'],
        ...consumers.map(({ name, behind, lagSeconds, waiting, dead }) => [
          name,
          behind >= MAX_COUNTED ? `${count(MAX_COUNTED)} or more` : count(behind),
          duration(lagSeconds),
          count(waiting),
          count(dead),
        ]),
      ]),
      ...(consumers.length === 0 ? ['No consumer: readers of GET /api/changes keep their own cursor.'] : []),
      ...(unrecorded.length > 0 ? Object.values(describeUnrecorded(unrecorded)) : []),
      ...(delay ? Object.values(describeDelay(delay)) : []),
      ...linesOf(deadLetters),
    ])
    return EXIT_DONE
  })
}

const linesOf = (letters: DeadLetter[]) =>
  columns(
    letters.map(({ deadAt, consumer, id, type, entityId, attempts, error }) => [
      deadAt,
      consumer,
      id,
      type,
      entityId,
      `${attempts} attempts`,
      error ?? '–',
    ]),
  )

export interface RetryFlags {
  consumer?: string
  id?: string[]
  list?: boolean
}

/** Schedules given-up deliveries again; the service sends them. Exit code 1 if a named id was not given up. */
export async function runRetry(context: Context, { consumer, id: ids, list }: RetryFlags): Promise<number> {
  const { output } = context
  const filter: DeadLetterFilter = { consumer, ids }
  return withDatabase(context, async ({ pool }) => {
    if (list) {
      const deadLetters = await findDeadLetters(pool, filter)
      output.result({ deadLetters }, [...linesOf(deadLetters), `Given up: ${countOf(deadLetters.length, 'change')}.`])
      return EXIT_DONE
    }
    const revived = await reviveDeadLetters(pool, filter)
    const unknown = (ids ?? []).filter((id) => !revived.some((one) => one.id === id))
    output.result({ revived, unknown }, [
      ...columns(revived.map(({ consumer, id }) => [consumer, id])),
      revived.length === 0
        ? 'No change was given up.'
        : `The running service will send ${countOf(revived.length, 'change')} again.`,
      ...unknown.map((id) => `${id} was not given up.`),
    ])
    return unknown.length > 0 ? EXIT_FAILED : EXIT_DONE
  })
}
