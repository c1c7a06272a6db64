/**
 * The OpenTelemetry SDK. Its other settings are its own environment variables, such as OTEL_EXPORTER_OTLP_HEADERS,
 * OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES, OTEL_TRACES_SAMPLER
 * (https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/).
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { DiagLogLevel, diag, propagation, SpanKind, type SpanStatus, SpanStatusCode, trace } from '@opentelemetry/api'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto'
import {
  defaultResource,
  detectResources,
  envDetector,
  resourceFromAttributes,
  serviceInstanceIdDetector,
} from '@opentelemetry/resources'
import {
  BatchSpanProcessor,
  NodeTracerProvider,
  type ReadableSpan,
  type SpanExporter,
} from '@opentelemetry/sdk-trace-node'
import type { FastifyBaseLogger } from 'fastify'
import { errorType } from './spans.ts'

export interface ProviderOptions {
  endpoint: string
  version: string
  log: FastifyBaseLogger
}

const QUIET_MS = 60_000
const FLUSH_MS = 2_000

/** Creates the tracer provider. It sends spans from a bounded queue: if the queue is full they are dropped, and requests never wait. */
export function createProvider({ endpoint, version, log }: ProviderOptions): NodeTracerProvider {
  const report = createReport(log)
  diag.setLogger({ error: report, warn: report, info: report, debug: report, verbose: report }, DiagLogLevel.WARN)
  const service = resourceFromAttributes({ 'service.name': 'clerk-session-sync', 'service.version': version })
  const exporter = new OTLPTraceExporter({ url: `${endpoint.replace(/\/+$/, '')}/v1/traces` })
  return new NodeTracerProvider({
    resource: defaultResource()
      .merge(service)
      // Attributes from the environment take precedence.
      .merge(detectResources({ detectors: [serviceInstanceIdDetector, envDetector] })),
    spanProcessors: [new Queue(reporting(exporter, report))],
  })
}

class Queue extends BatchSpanProcessor {
  override onEnd(span: ReadableSpan): void {
    // @fastify/otel marks refusals as errors, and records messages, which may quote user input.
    if (span.kind === SpanKind.SERVER) (span as { status: SpanStatus }).status = statusOf(span)
    super.onEnd(span)
  }
}

// https://opentelemetry.io/docs/specs/semconv/http/http-spans/#status
function statusOf({ attributes }: ReadableSpan): SpanStatus {
  const isOurs = Number(attributes['http.response.status_code']) >= 500
  return { code: isOurs ? SpanStatusCode.ERROR : SpanStatusCode.UNSET }
}

type Report = (reason: string) => void

/** Logs at most one line a minute, because an unreachable collector causes a failure every few seconds. */
function createReport(log: FastifyBaseLogger): Report {
  let quietUntil = 0
  return (reason) => {
    if (performance.now() < quietUntil) return
    quietUntil = performance.now() + QUIET_MS
    log.warn({ reason }, 'traces could not be sent')
  }
}

// Reports failures itself, because the SDK would log the whole error with its stack.
function reporting(exporter: SpanExporter, report: Report): SpanExporter {
  return {
    export: (spans, done) =>
      exporter.export(spans, (result) => {
        if (result.error) report(`${errorType(result.error)} ${result.error.message}`.trim())
        done(result)
      }),
    shutdown: () => exporter.shutdown(),
  }
}

/** Sends the remaining spans, for at most two seconds. */
export async function shutDown(provider: NodeTracerProvider, log: FastifyBaseLogger): Promise<void> {
  trace.disable()
  propagation.disable()
  const flushed = provider.shutdown().then(
    () => true,
    () => false,
  )
  if (!(await Promise.race([flushed, sleep(FLUSH_MS, false, { ref: false })]))) {
    log.warn('the last traces could not be sent')
  }
  diag.disable()
}
