/**
 * OpenTelemetry's SDK. Its other settings are its own environment variables, such as OTEL_EXPORTER_OTLP_HEADERS,
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

/** What makes spans and sends them away, from a bounded queue: what it cannot hold is dropped, and nothing ever waits for it. */
export function createProvider({ endpoint, version, log }: ProviderOptions): NodeTracerProvider {
  const report = createReport(log)
  diag.setLogger({ error: report, warn: report, info: report, debug: report, verbose: report }, DiagLogLevel.WARN)
  const service = resourceFromAttributes({ 'service.name': 'clerk-session-sync', 'service.version': version })
  const exporter = new OTLPTraceExporter({ url: `${endpoint.replace(/\/+$/, '')}/v1/traces` })
  return new NodeTracerProvider({
    resource: defaultResource()
      .merge(service)
      // Whatever the environment says goes before.
      .merge(detectResources({ detectors: [serviceInstanceIdDetector, envDetector] })),
    spanProcessors: [new Queue(reporting(exporter, report))],
  })
}

class Queue extends BatchSpanProcessor {
  override onEnd(span: ReadableSpan): void {
    // @fastify/otel calls a refusal an error, and tells messages, which may quote what came in.
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

/** One line a minute at most, since a collector that is down fails every few seconds. */
function createReport(log: FastifyBaseLogger): Report {
  let quietUntil = 0
  return (reason) => {
    if (performance.now() < quietUntil) return
    quietUntil = performance.now() + QUIET_MS
    log.warn({ reason }, 'traces are not sent as they should be')
  }
}

// The SDK's own report, which comes after this one, is of a whole error with its stack.
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

/** Sends what is left, within two seconds. */
export async function shutDown(provider: NodeTracerProvider, log: FastifyBaseLogger): Promise<void> {
  trace.disable()
  propagation.disable()
  const flushed = provider.shutdown().then(
    () => true,
    () => false,
  )
  if (!(await Promise.race([flushed, sleep(FLUSH_MS, false, { ref: false })]))) {
    log.warn('the collector did not take the last traces')
  }
  diag.disable()
}
