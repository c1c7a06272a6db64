/**
 * The plugins' events, published on Node.js diagnostics channels for metrics, traces and other subscribers. Publishing costs
 * nothing without subscribers. Requests and errors have no channel, because Fastify's hooks report them.
 */
import { type Channel, channel, type TracingChannel, tracingChannel } from 'node:diagnostics_channel'
import type { Server } from 'node:http'
import type { ReasonNotToAsk } from '../clerk/user-lookup.ts'
import type { Outcome } from '../domain/change.ts'

export interface ChannelMessage {
  /** The server of the publishing app, because all apps of a process share the channels. */
  server: Server
}

/** A webhook was answered, after its commit. */
export interface WebhookMessage extends ChannelMessage {
  type: string
  /** `failed`: the signature is valid, but the event cannot be used. */
  outcome: Outcome | 'failed'
  /** Whether it was ignored because it comes from another Clerk instance. */
  isForeign: boolean
  /** From the event at Clerk (or the delivery, if the event has no date) to the commit. */
  delayMs: number
}

/** A user was synced outside a webhook. */
export interface SyncMessage extends ChannelMessage {
  source: 'clerk_api' | 'session_claims' | 'database'
  created: boolean
}

/** Several requests shared a statement or a transaction. */
export interface BatchMessage extends ChannelMessage {
  kind: 'read' | 'write'
  size: number
}

/** Clerk's Backend API was called. */
export interface ApiCallMessage extends ChannelMessage {
  /** The HTTP status; 0 without an answer in time. */
  status: number
}

/** A user sync did not call Clerk's Backend API, and used the claims or the row. */
export interface ApiSkipMessage extends ChannelMessage {
  reason: ReasonNotToAsk
}

/** A change was delivered to a consumer of the feed, or the attempt failed. */
export interface DeliveryMessage extends ChannelMessage {
  consumer: string
  /** `dead`: the last retry failed. */
  outcome: 'delivered' | 'failed' | 'dead'
  /** From the change to the attempt. */
  delayMs: number
}

/** A catch-up found changes that no webhook delivered. */
export interface CatchUpMessage extends ChannelMessage {
  created: number
  updated: number
  deleted: number
}

/** A channel with typed messages. */
export interface TypedChannel<T> extends Channel {
  readonly message?: T
}

const named = <T extends ChannelMessage>(name: string): TypedChannel<T> => channel(`clerk-session-sync:${name}`)

export const webhookChannel = named<WebhookMessage>('webhook')
export const syncChannel = named<SyncMessage>('sync')
export const batchChannel = named<BatchMessage>('batch')
export const deliveryChannel = named<DeliveryMessage>('delivery')
export const catchUpChannel = named<CatchUpMessage>('catch-up')
export const apiCallChannel = named<ApiCallMessage>('api-call')
export const apiSkipChannel = named<ApiSkipMessage>('api-skip')

/** Trace the verification of tokens and of webhook signatures. */
export const tokenTracing: TracingChannel<unknown, object> = tracingChannel('clerk-session-sync:token')
export const signatureTracing: TracingChannel<unknown, object> = tracingChannel('clerk-session-sync:signature')

/** Publishes a message if the channel has subscribers. */
export function publish<T extends ChannelMessage>(to: TypedChannel<T>, message: T): void {
  if (to.hasSubscribers) to.publish(message)
}
