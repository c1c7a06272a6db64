/**
 * What the plugins tell of themselves, by Node.js' diagnostics channels: for metrics, traces, or anybody who subscribes.
 * Publishing costs nothing while nobody does. Requests and errors have Fastify's hooks and no channel.
 */
import { type Channel, channel, type TracingChannel, tracingChannel } from 'node:diagnostics_channel'
import type { Server } from 'node:http'
import type { ReasonNotToAsk } from '../clerk/user-lookup.ts'
import type { Outcome } from '../domain/change.ts'

export interface Told {
  /** Of the app that tells it: channels are shared by the whole process. */
  server: Server
}

/** A webhook was answered, after its commit. */
export interface WebhookTold extends Told {
  type: string
  /** `failed`: well signed, but it cannot be used. */
  outcome: Outcome | 'failed'
  /** It is of another Clerk instance, and was ignored for that. */
  isForeign: boolean
  /** From the event at Clerk (or the delivery, where it has no date) to the commit. */
  delayMs: number
}

/** A user was synced outside a webhook. */
export interface SyncTold extends Told {
  source: 'clerk_api' | 'session_claims' | 'database'
  created: boolean
}

/** Requests shared a statement or a transaction. */
export interface BatchTold extends Told {
  kind: 'read' | 'write'
  size: number
}

/** Clerk's Backend API was called. */
export interface ApiCallTold extends Told {
  /** The HTTP status; 0 when none came in time. */
  status: number
}

/** Clerk's Backend API was not asked for a user: the claims or the row answered. */
export interface ApiSkipTold extends Told {
  reason: ReasonNotToAsk
}

/** A change was given to a consumer of the feed. */
export interface DeliveryTold extends Told {
  consumer: string
  /** `dead`: it failed, and the schedule is over. */
  outcome: 'delivered' | 'failed' | 'dead'
  /** From the change to now. */
  delayMs: number
}

/** A catch-up found what no webhook brought. */
export interface CatchUpTold extends Told {
  created: number
  updated: number
  deleted: number
}

/** A channel whose messages have a type. */
export interface TypedChannel<T> extends Channel {
  readonly told?: T
}

const named = <T extends Told>(name: string): TypedChannel<T> => channel(`clerk-session-sync:${name}`)

export const webhookChannel = named<WebhookTold>('webhook')
export const syncChannel = named<SyncTold>('sync')
export const batchChannel = named<BatchTold>('batch')
export const deliveryChannel = named<DeliveryTold>('delivery')
export const catchUpChannel = named<CatchUpTold>('catch-up')
export const apiCallChannel = named<ApiCallTold>('api-call')
export const apiSkipChannel = named<ApiSkipTold>('api-skip')

/** How long the verification of a token takes, and of a webhook's signature. */
export const tokenTracing: TracingChannel<unknown, object> = tracingChannel('clerk-session-sync:token')
export const signatureTracing: TracingChannel<unknown, object> = tracingChannel('clerk-session-sync:signature')

/** Tells it, if anybody listens. */
export function tell<T extends Told>(to: TypedChannel<T>, message: T): void {
  if (to.hasSubscribers) to.publish(message)
}
