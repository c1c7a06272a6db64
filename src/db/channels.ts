/**
 * Node.js diagnostics channels that trace statements and batches. They cost almost nothing without subscribers.
 */
import { channel, type TracingChannel, tracingChannel } from 'node:diagnostics_channel'

/** A statement, without its parameters. */
export interface TracedStatement {
  name: string
  text: string
}

/** Calls that share a batch. */
export interface TracedBatch {
  name: string
  /** The objects that were published on `callChannel` for each call. */
  calls: readonly object[]
}

export const statementTracing: TracingChannel<unknown, TracedStatement> = tracingChannel('clerk-session-sync:statement')
export const batchTracing: TracingChannel<unknown, TracedBatch> = tracingChannel('clerk-session-sync:batch')
/** Publishes each call of a batcher, in the async context of its caller. */
export const callChannel = channel('clerk-session-sync:call')
