/** The metrics of the events that the plugins publish on their channels. */
import type { FastifyInstance } from 'fastify'
import { Counter, Histogram, type Registry } from 'prom-client'
import { REASONS_NOT_TO_ASK } from '../../clerk/user-lookup.ts'
import { EVENT_TYPES } from '../../resources/index.ts'
import {
  apiCallChannel,
  apiSkipChannel,
  batchChannel,
  type ChannelMessage,
  catchUpChannel,
  deliveryChannel,
  syncChannel,
  type TypedChannel,
  type WebhookMessage,
  webhookChannel,
} from '../channels.ts'

const DELAY_SECONDS = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1_800, 7_200, 36_000, 86_400]
const SIZES = [1, 2, 4, 8, 16, 32, 64, 128, 256]
const OUTCOMES = ['applied', 'duplicate', 'stale', 'ignored', 'failed'] satisfies WebhookMessage['outcome'][]
const SYNCS = [
  ['clerk_api', 'created'],
  ['clerk_api', 'updated'],
  ['session_claims', 'created'],
  ['session_claims', 'updated'],
  ['database', 'unchanged'],
] as const
const LOST = ['created', 'updated', 'deleted'] as const
const REJECTIONS = new Map([
  ['WEBHOOK_HEADERS_MISSING', 'headers_missing'],
  ['WEBHOOK_SIGNATURE_INVALID', 'signature_invalid'],
])

/** Counts events until the app closes. */
export function watchEvents(app: FastifyInstance, registry: Registry): void {
  const registers = [registry]
  const deliveries = new Counter({
    name: 'clerk_session_sync_webhook_deliveries_total',
    help: 'Webhooks with a valid signature, by event type and outcome.',
    labelNames: ['type', 'outcome'],
    registers,
  })
  const foreign = new Counter({
    name: 'clerk_session_sync_webhook_foreign_total',
    help: 'Webhooks with a valid signature from another Clerk instance, which are ignored.',
    registers,
  })
  const lost = new Counter({
    name: 'clerk_session_sync_webhooks_lost_total',
    help: 'Changes of users at Clerk that no webhook delivered in time, found by the catch-up.',
    labelNames: ['change'],
    registers,
  })
  const delays = new Histogram({
    name: 'clerk_session_sync_webhook_event_delay_seconds',
    help: 'Time from an event at Clerk to its commit, for applied events.',
    buckets: DELAY_SECONDS,
    registers,
  })
  const rejections = new Counter({
    name: 'clerk_session_sync_webhook_verification_failures_total',
    help: 'Webhooks refused because of a missing or invalid signature.',
    labelNames: ['reason'],
    registers,
  })
  const syncs = new Counter({
    name: 'clerk_session_sync_syncs_total',
    help: 'Users synced outside webhooks, by the source of the profile.',
    labelNames: ['source', 'result'],
    registers,
  })
  const batches = new Histogram({
    name: 'clerk_session_sync_database_batch_size',
    help: 'Number of requests that shared a statement or a transaction.',
    labelNames: ['kind'],
    buckets: SIZES,
    registers,
  })
  const apiCalls = new Counter({
    name: 'clerk_session_sync_clerk_api_requests_total',
    help: "Calls of Clerk's Backend API, by HTTP status; none if no answer came.",
    labelNames: ['status'],
    registers,
  })
  const apiSkips = new Counter({
    name: 'clerk_session_sync_clerk_api_skipped_total',
    help: "Syncs that did not call Clerk's Backend API: CLERK_API_BUDGET was used up, Clerk asked to wait, or too many calls were in flight.",
    labelNames: ['reason'],
    registers,
  })
  const changeDeliveries = new Counter({
    name: 'clerk_session_sync_change_deliveries_total',
    help: 'Attempts to deliver a change to a consumer of the feed, by outcome; dead means that it was given up.',
    labelNames: ['consumer', 'outcome'],
    registers,
  })
  const changeDelays = new Histogram({
    name: 'clerk_session_sync_change_delivery_delay_seconds',
    help: 'Time from a change to its delivery to a consumer.',
    labelNames: ['consumer'],
    buckets: DELAY_SECONDS,
    registers,
  })
  const bound = { read: batches.labels('read'), write: batches.labels('write') }
  // Start at 0, so that queries see the first event as an increase.
  for (const reason of REJECTIONS.values()) rejections.inc({ reason }, 0)
  for (const type of [...EVENT_TYPES, 'other']) {
    for (const outcome of OUTCOMES) deliveries.inc({ type, outcome }, 0)
  }
  for (const change of LOST) lost.inc({ change }, 0)
  for (const reason of REASONS_NOT_TO_ASK) apiSkips.inc({ reason }, 0)
  for (const [source, result] of SYNCS) syncs.inc({ source, result }, 0)

  listen(app, webhookChannel, ({ type, outcome, isForeign, delayMs }) => {
    if (isForeign) foreign.inc()
    // Only handled types get a series of their own, because Clerk can add new types at any time.
    deliveries.inc({ type: EVENT_TYPES.includes(type) ? type : 'other', outcome })
    // If the local clock is behind Clerk's, an event can appear to come from the future.
    if (outcome === 'applied') delays.observe(Math.max(0, delayMs) / 1000)
  })
  listen(app, catchUpChannel, (counts) => {
    for (const change of LOST) lost.inc({ change }, counts[change])
  })
  listen(app, syncChannel, ({ source, created }) => {
    syncs.inc({ source, result: created ? 'created' : source === 'database' ? 'unchanged' : 'updated' })
  })
  listen(app, batchChannel, ({ kind, size }) => bound[kind].observe(size))
  listen(app, apiCallChannel, ({ status }) => apiCalls.inc({ status: status === 0 ? 'none' : String(status) }))
  listen(app, apiSkipChannel, ({ reason }) => apiSkips.inc({ reason }))
  listen(app, deliveryChannel, ({ consumer, outcome, delayMs }) => {
    changeDeliveries.inc({ consumer, outcome })
    if (outcome === 'delivered') changeDelays.observe({ consumer }, Math.max(0, delayMs) / 1000)
  })
  app.addHook('onError', (_request, _reply, error, done) => {
    const reason = REJECTIONS.get(error.code)
    if (reason) rejections.inc({ reason })
    done()
  })
}

function listen<T extends ChannelMessage>(
  app: FastifyInstance,
  channel: TypedChannel<T>,
  on: (message: T) => void,
): void {
  const hear = (message: unknown) => {
    if ((message as T).server === app.server) on(message as T)
  }
  channel.subscribe(hear)
  app.addHook('onClose', async () => {
    channel.unsubscribe(hear)
  })
}
