/** Makes spans of the events on the tracing channels, if a traced request caused them. */
import { AsyncLocalStorage } from 'node:async_hooks'
import type { Channel, TracingChannel } from 'node:diagnostics_channel'
import {
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  type SpanOptions,
  SpanStatusCode,
  type Tracer,
  trace,
} from '@opentelemetry/api'
import { batchTracing, callChannel, statementTracing, type TracedBatch } from '../../db/channels.ts'
import { signatureTracing, tokenTracing } from '../channels.ts'

/** Makes spans until it is stopped. `current` holds the span of the running code. */
export function watchChannels(tracer: Tracer): { current: AsyncLocalStorage<Span | undefined>; stop: () => void } {
  const current = new AsyncLocalStorage<Span | undefined>()
  const spans = new WeakMap<object, Span>()
  const callers = new WeakMap<object, Span>()
  const undo: (() => unknown)[] = []

  function open(message: object, name: string, parent: Span | undefined, options?: SpanOptions): Span | undefined {
    if (!parent) return undefined
    const span = tracer.startSpan(name, options, trace.setSpan(ROOT_CONTEXT, parent))
    spans.set(message, span)
    return span
  }

  /**
   * A child of the first request that the batch serves, sampled like it. The batch and the other requests link to each other, as
   * OpenTelemetry recommends for batches of messages.
   */
  function openBatch(message: TracedBatch): Span | undefined {
    const [first, ...others] = message.calls.flatMap((call) => callers.get(call) ?? [])
    const span = open(message, message.name, first, {
      attributes: { 'clerk_session_sync.batch.size': message.calls.length },
      links: others.map((other) => ({ context: other.spanContext() })),
    })
    for (const other of others) other.addLink({ context: (span as Span).spanContext() })
    return span
  }

  function watch<M extends object>(
    channel: TracingChannel<unknown, M>,
    last: 'end' | 'asyncEnd',
    begin: (message: M) => Span | undefined,
  ): void {
    // Work that the event causes belongs to its span.
    const start = channel.start as Channel<Span | undefined, M>
    start.bindStore(current, begin)
    undo.push(() => start.unbindStore(current))
    hear(channel.error, (message) => fail(spans.get(message), (message as { error?: unknown }).error))
    hear(channel[last], (message) => spans.get(message)?.end())
  }

  function hear(channel: Channel, on: (message: object) => void): void {
    const listener = (message: unknown) => on(message as object)
    channel.subscribe(listener)
    undo.push(() => channel.unsubscribe(listener))
  }

  hear(callChannel, (call) => {
    const caller = current.getStore()
    if (caller) callers.set(call, caller)
  })
  watch(tokenTracing, 'asyncEnd', (message) => open(message, 'verify token', current.getStore()))
  watch(signatureTracing, 'end', (message) => open(message, 'verify signature', current.getStore()))
  watch(batchTracing, 'asyncEnd', openBatch)
  watch(statementTracing, 'asyncEnd', (message) =>
    open(message, message.name, current.getStore(), {
      kind: SpanKind.CLIENT,
      attributes: {
        'db.system.name': 'postgresql',
        'db.query.summary': message.name,
        'db.query.text': message.text,
      },
    }),
  )
  return {
    current,
    stop() {
      for (const one of undo) one()
    },
  }
}

/** The type of an error, without its message, which may quote user input. */
export function errorType(error: unknown): string {
  const { code, name } = error as { code?: unknown; name: string }
  return String(code ?? name)
}

function fail(span: Span | undefined, error: unknown): void {
  span?.setAttribute('error.type', errorType(error))
  // A refusal is not an error of the service.
  const { statusCode = 500 } = error as { statusCode?: number }
  if (statusCode >= 500) span?.setStatus({ code: SpanStatusCode.ERROR })
}
