/**
 * What statements and batches tell of how long they take, by Node.js' diagnostics channels. It costs next to nothing while
 * nobody listens.
 */
import { channel, type TracingChannel, tracingChannel } from 'node:diagnostics_channel'

/** A statement: never with its parameters. */
export interface TracedStatement {
  name: string
  text: string
}

/** Calls that share a batch. */
export interface TracedBatch {
  name: string
  /** The objects that `callChannel` told of when each call came. */
  calls: readonly object[]
}

export const statementTracing: TracingChannel<unknown, TracedStatement> = tracingChannel('clerk-session-sync:statement')
export const batchTracing: TracingChannel<unknown, TracedBatch> = tracingChannel('clerk-session-sync:batch')
/** Tells of each call of a batcher as it comes, in its caller's async context. */
export const callChannel = channel('clerk-session-sync:call')
