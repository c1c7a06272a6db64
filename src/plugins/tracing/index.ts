/**
 * OpenTelemetry traces: a span for each request, with child spans for its token or signature, the batches that serve it and
 * their SQL. This folder is loaded only if a collector is configured.
 */
import { FastifyOtelInstrumentation } from '@fastify/otel'
import type { Span } from '@opentelemetry/api'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { createProvider, shutDown } from './sdk.ts'
import { errorType, watchChannels } from './spans.ts'

export interface TracingOptions {
  /** The collector's URL, for OTLP over HTTP; `/v1/traces` is appended. */
  endpoint: string
  /** Of the service. */
  version: string
}

/** Traces every route that is registered after it, except probes. Supports one app per process: OpenTelemetry's state is global. */
export default fp<TracingOptions>(
  async (app, { endpoint, version }) => {
    const provider = createProvider({ endpoint, version, log: app.log })
    // The current span is kept in the channels' AsyncLocalStorage.
    provider.register({ contextManager: null })
    const instrumentation = new FastifyOtelInstrumentation({
      requestHook: describeRequest,
      instrumentHooks: false,
      instrumentHandler: false,
      recordExceptions: false,
    })
    instrumentation.setTracerProvider(provider)
    leaveOutProbes(app)
    await app.register(instrumentation.plugin())

    const { current, stop } = watchChannels(provider.getTracer('clerk-session-sync', version))
    app.addHook('onRequest', (request, _reply, done) => {
      const { span } = request.opentelemetry()
      if (span?.isRecording()) current.run(span, done)
      else done()
    })
    app.addHook('onError', (request, _reply, error, done) => {
      request.opentelemetry().span?.setAttribute('error.type', errorType(error))
      done()
    })
    // Registered first, so its onClose hook runs last, and the work of other hooks is still traced.
    app.addHook('onClose', async () => {
      stop()
      await shutDown(provider, app.log)
    })
  },
  { name: 'clerk-tracing', fastify: '5.x' },
)

// Probes are so frequent that they would be most of the stored traces.
function leaveOutProbes(app: FastifyInstance): void {
  app.addHook('onRoute', (route) => {
    if (route.config?.servesWhileClosing) route.config.otel = false
  })
}

function describeRequest(span: Span, request: FastifyRequest): void {
  if (!span.isRecording()) return
  const route = request.routeOptions.url
  span.updateName(route === undefined ? request.method : `${request.method} ${route}`)
  // The route's pattern, because a path or query may contain secrets or personal data.
  span.setAttributes({ 'url.path': route ?? 'none', 'url.scheme': request.protocol })
  request.log = request.log.child({ trace_id: span.spanContext().traceId })
}
