/** The change feed. Consumers read `GET /api/changes`, receive a webhook, or register handlers with `app.clerkOn`. */
import { Type } from '@sinclair/typebox'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { addConsumer, type DeadLetter, findDeadLetters } from '../../db/changes/consumers.ts'
import { setChangeFeed } from '../../db/changes/enable.ts'
import type { FeedEntry } from '../../db/changes/read.ts'
import { type ChangesStatus, findChangesStatus } from '../../db/changes/status.ts'
import { isDatabaseTrouble } from '../../db/errors.ts'
import { createPool } from '../../db/pool.ts'
import { FEED_TYPES, type FeedChange, type FeedType } from '../../domain/feed.ts'
import { DatabaseUnavailable, retryAfter } from '../../errors.ts'
import { type ConsumerOptions, type DeliveryEvents, deliverChanges } from '../../jobs/deliver-changes.ts'
import { DeliveryError } from '../../jobs/delivery-lanes.ts'
import { watchChanges } from '../../jobs/watch-changes.ts'
import { deliveryChannel, publish } from '../channels.ts'
import { checkOptions, number, object, optional, optionsOf, secret, text } from '../check-options.ts'
import type { DatabaseOptions } from '../database.ts'
import errorReplies from '../error-replies.ts'
import { createPush, PUSH_CONCURRENCY, type PushOptions } from './push.ts'
import changesRoute, { type ChangesFeed } from './route.ts'

export interface ChangesOptions {
  database: DatabaseOptions
  /** The bearer token of `GET /api/changes`; without it there is no such route. */
  token?: string
  /** The webhook that changes are pushed to. */
  webhook?: PushOptions
  /** How long the delivering replica may be silent before another one takes over; 15 s by default. */
  leaseTtlMs?: number
}

export interface ClerkOnOptions {
  /**
   * The name under which the database keeps the handler's position, across restarts and replicas; one replica runs it at a time.
   * A new name starts with the changes from now on.
   */
  name: string
  /** How many entities' changes are handled in parallel; 4 by default. Changes of one entity are always handled in order. */
  concurrency?: number
  /** How long the handler may take, in ms; 30 s by default. */
  timeoutMs?: number
  /** The waits before the second, third… attempt, in ms; Svix's schedule by default. */
  scheduleMs?: readonly number[]
}

/**
 * Called at least once for each change. If it rejects, the change is retried, and later changes of the same entity wait.
 * `signal` aborts at the time limit, which counts as a failure.
 */
export type ClerkOnHandler = (change: FeedChange, details: { attempt: number; signal: AbortSignal }) => unknown

declare module 'fastify' {
  interface FastifyInstance {
    /**
     * Calls a handler at least once for each change of these types from now on, no matter which process writes it:
     * `app.clerkOn('user.created', { name: 'welcome-mail' }, async (change) => …)`. Must be called before the app is ready.
     */
    clerkOn: (type: FeedType | readonly FeedType[], options: ClerkOnOptions, handler: ClerkOnHandler) => void
    /** Used by the route that reads the feed. */
    clerkChangesFeed: ChangesFeed
    /** How far the consumers are, and what delays the feed. */
    clerkChangesStatus: () => Promise<ChangesStatus>
    /** Deliveries that were given up, the oldest first. */
    clerkDeadLetters: (limit: number) => Promise<DeadLetter[]>
  }
}

/** The consumer name of the pushed webhook. */
export const PUSH_CONSUMER = 'webhook'
const HANDLER_TIMEOUT_MS = 30_000
const HANDLER_CONCURRENCY = 4
const RETRY_AFTER_MS = 2_000
const RETRY_MS = 2_000
const CONNECTIONS = 4

const OPTIONS = optionsOf<ChangesOptions>({
  database: object,
  token: optional(secret(16)),
  webhook: optional(
    Type.Object(
      { url: text('the URL that changes are pushed to'), secret: text('the signing secret, whsec_…') },
      { description: 'an object with url and secret' },
    ),
  ),
  leaseTtlMs: optional(number),
})

/** Registers the feed, and creates its triggers if they are missing. The tables must be migrated. */
export default fp<ChangesOptions>(
  async (app, options) => {
    checkOptions('clerkChanges', OPTIONS, options)
    const { database, token, webhook, leaseTtlMs } = options
    const { connectionString, schema } = database
    const stop = new AbortController()
    // A separate pool, so that the feed takes no connections from requests.
    const pool = createPool({
      connectionString,
      schema,
      transactionPooling: database.transactionPooling,
      max: CONNECTIONS,
      applicationName: 'clerk-session-sync changes',
      onError: (error) => app.log.warn({ err: error }, 'a database connection of the change feed broke'),
    })
    const onTrouble = (error: unknown) => app.log.warn({ err: error }, 'the change feed cannot be read')
    const consumers: ConsumerOptions[] = []
    const push = webhook && createPush(webhook)
    if (webhook && push) {
      consumers.push({
        name: PUSH_CONSUMER,
        deliver: push.deliver,
        concurrency: PUSH_CONCURRENCY,
        scheduleMs: webhook.scheduleMs,
      })
    }
    let isReady = false
    app.decorate('clerkOn', (type, options, handler) => {
      if (isReady) throw new Error('clerkOn must be called before the app is ready')
      consumers.push(consumerOf([type].flat(), options, handler, consumers))
    })
    app.decorate('clerkChangesStatus', () => withUnavailable(findChangesStatus(pool)))
    app.decorate('clerkDeadLetters', (limit) => withUnavailable(findDeadLetters(pool, {}, limit)))

    await whenReachable(app, stop.signal, () => setChangeFeed(connectionString, { schema, isEnabled: true }))

    const watch = watchChanges({ pool, connectionString, onTrouble })
    app.decorate('clerkChangesFeed', { watch, closing: stop.signal, withUnavailable })
    if (token !== undefined) {
      await app.register(async (ours) => {
        if (!ours.hasPlugin('clerk-error-replies')) await ours.register(errorReplies)
        await ours.register(changesRoute, { token })
      })
    }
    let delivering: Promise<unknown> | undefined
    app.addHook('onReady', async () => {
      isReady = true
      const names = consumers.map(({ name }) => name)
      // Registered before the first request is served, so that the consumer misses no change.
      await whenReachable(app, stop.signal, () => Promise.all(names.map((name) => addConsumer(pool, name))))
      const options = { pool, watch, signal: stop.signal, events: eventsOf(app), leaseTtlMs }
      delivering = Promise.all(consumers.map((consumer) => deliverChanges(consumer, options)))
    })
    // Waiting long polls would keep the server from closing.
    app.addHook('preClose', async () => stop.abort())
    app.addHook('onClose', async () => {
      stop.abort()
      await watch.end()
      await delivering
      await push?.close()
      await pool.end()
    })
  },
  { name: 'clerk-changes', fastify: '5.x', dependencies: ['clerk-database'] },
)

function consumerOf(
  types: readonly FeedType[],
  options: ClerkOnOptions,
  handler: ClerkOnHandler,
  consumers: readonly ConsumerOptions[],
): ConsumerOptions {
  const { name, concurrency = HANDLER_CONCURRENCY, timeoutMs = HANDLER_TIMEOUT_MS, scheduleMs } = options
  const unknown = types.filter((type) => !FEED_TYPES.includes(type))
  if (unknown.length > 0 || types.length === 0)
    throw new TypeError(`clerkOn: unknown type: ${unknown.join(', ')}. Known: ${FEED_TYPES.join(', ')}`)
  if (typeof name !== 'string' || name === '') throw new TypeError('clerkOn: the handler needs a name')
  if (name === PUSH_CONSUMER || consumers.some((other) => other.name === name)) {
    throw new Error(`clerkOn: the name ${name} is already used`)
  }
  return { name, types, concurrency, scheduleMs, deliver: (entry, attempt) => call(handler, entry, attempt, timeoutMs) }
}

async function call(handler: ClerkOnHandler, { change }: FeedEntry, attempt: number, timeoutMs: number): Promise<void> {
  const signal = AbortSignal.timeout(timeoutMs)
  const late = Promise.withResolvers<never>()
  signal.addEventListener('abort', () => late.reject(new DeliveryError(`not done within ${timeoutMs} ms`)), {
    once: true,
  })
  // In a promise callback, so that a synchronous throw is handled like a rejection.
  await Promise.race([Promise.resolve().then(() => handler(change, { attempt, signal })), late.promise])
}

function eventsOf(app: FastifyInstance): DeliveryEvents {
  const { log, server } = app
  const describe = ({ change }: FeedEntry) => ({
    changeId: change.id,
    entity: change.entity,
    entityId: change.entityId,
    op: change.op,
  })
  const delayOf = ({ change }: FeedEntry) => Date.now() - Date.parse(change.occurredAt)
  return {
    onDelivered: (consumer, entry) =>
      publish(deliveryChannel, { server, consumer, outcome: 'delivered', delayMs: delayOf(entry) }),
    onFailure(consumer, entry, error, { attempt, isDead }) {
      publish(deliveryChannel, { server, consumer, outcome: isDead ? 'dead' : 'failed', delayMs: delayOf(entry) })
      const details = { err: withoutMessage(error), consumer, attempt, ...describe(entry) }
      if (isDead)
        log.error(
          details,
          'a change was given up after its last retry: clerk-session-sync replay --changes sends it again',
        )
      else log.warn(details, 'a change could not be delivered, and will be retried')
    },
    onLost: (consumer) =>
      log.error({ consumer }, 'changes were pruned before they were delivered: raise CHANGES_RETENTION_DAYS'),
    onTrouble: (consumer, error) => log.warn({ err: error, consumer }, 'changes cannot be delivered at the moment'),
  }
}

// An application's error message may contain personal data: the log has where it was thrown, not what it says.
function withoutMessage(error: unknown): unknown {
  if (error instanceof DeliveryError || !(error instanceof Error)) return error
  const frames = error.stack?.split('\n').filter((line) => /^\s+at /.test(line))
  return { type: error.name, stack: frames?.join('\n') }
}

/** Runs `work` at once, and rejects if the database refuses it. If the database is unreachable, retries in the background. */
async function whenReachable(app: FastifyInstance, signal: AbortSignal, work: () => Promise<unknown>): Promise<void> {
  try {
    await work()
  } catch (error) {
    if (!isDatabaseTrouble(error)) throw error
    app.log.warn({ err: error }, 'the change feed is waiting for the database')
    const timer = setTimeout(() => {
      if (!signal.aborted)
        whenReachable(app, signal, work).catch((error) =>
          app.log.error({ err: error }, 'the change feed could not start'),
        )
    }, RETRY_MS).unref()
    signal.addEventListener('abort', () => clearTimeout(timer), { once: true })
  }
}

async function withUnavailable<T>(work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (error) {
    if (!isDatabaseTrouble(error)) throw error
    throw retryAfter(new DatabaseUnavailable({ cause: error }), RETRY_AFTER_MS)
  }
}
