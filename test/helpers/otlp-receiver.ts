/**
 * A collector for OpenTelemetry's traces over HTTP, which decodes what it gets by itself
 * (https://github.com/open-telemetry/opentelemetry-proto/blob/main/opentelemetry/proto/trace/v1/trace.proto).
 */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'
import type { Test } from 'tap'
import { waitUntil } from './wait-until.ts'

type Attributes = Record<string, string | number | boolean>

export interface ReceivedSpan {
  traceId: string
  spanId: string
  parentSpanId: string
  name: string
  /** 1 internal, 2 server, 3 client. */
  kind: number
  attributes: Attributes
  /** 0 unset, 2 error. */
  status: { code: number; message: string }
  events: number
  links: { traceId: string; spanId: string }[]
  resource: Attributes
}

export interface OtlpReceiver {
  url: string
  spans: ReceivedSpan[]
  /** Every body as it came. */
  bodies: Buffer[]
  /** The headers of the latest. */
  headers(): Record<string, unknown>
  /** The spans of a trace, once they are there: a request's own comes last. */
  trace(traceId: string): Promise<ReceivedSpan[]>
}

export async function startOtlpReceiver(t: Test): Promise<OtlpReceiver> {
  const spans: ReceivedSpan[] = []
  const bodies: Buffer[] = []
  let headers: Record<string, unknown> = {}
  const server = createServer(async (request, response) => {
    const body = await buffer(request)
    if (request.method !== 'POST' || request.url !== '/v1/traces') return void response.writeHead(404).end()
    headers = request.headers
    bodies.push(body)
    spans.push(...decodeRequest(body))
    response.writeHead(200, { 'content-type': 'application/x-protobuf' }).end()
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  const of = (traceId: string) => spans.filter((span) => span.traceId === traceId)
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    spans,
    bodies,
    headers: () => headers,
    async trace(traceId) {
      await waitUntil(`trace ${traceId}`, async () => of(traceId).some(({ kind }) => kind === 2))
      return of(traceId)
    },
  }
}

/** The fields of a protobuf message by their numbers. */
class Message {
  readonly fields = new Map<number, (Buffer | bigint)[]>()

  constructor(bytes: Buffer) {
    let at = 0
    function varint(): bigint {
      let value = 0n
      for (let shift = 0n; ; shift += 7n) {
        const byte = bytes.readUInt8(at++)
        value |= BigInt(byte & 0x7f) << shift
        if (byte < 0x80) return value
      }
    }
    function take(length: number): Buffer {
      at += length
      if (at > bytes.length) throw new RangeError('the message is cut off')
      return bytes.subarray(at - length, at)
    }
    function value(wireType: number): Buffer | bigint {
      if (wireType === 0) return varint()
      if (wireType === 1) return take(8)
      if (wireType === 2) return take(Number(varint()))
      if (wireType === 5) return take(4)
      throw new TypeError(`unknown wire type ${wireType}`)
    }
    while (at < bytes.length) {
      const tag = Number(varint())
      this.fields.set(tag >> 3, [...(this.fields.get(tag >> 3) ?? []), value(tag & 7)])
    }
  }

  all = (field: number) => (this.fields.get(field) ?? []).map((bytes) => new Message(bytes as Buffer))
  bytes = (field: number) => (this.fields.get(field)?.at(-1) ?? Buffer.alloc(0)) as Buffer
  int = (field: number) => Number(BigInt.asIntN(64, (this.fields.get(field)?.at(-1) ?? 0n) as bigint))
  text = (field: number) => this.bytes(field).toString('utf8')
  hex = (field: number) => this.bytes(field).toString('hex')

  /** Field `field` as `KeyValue`s. */
  attributes(field: number): Attributes {
    return Object.fromEntries(this.all(field).map((pair) => [pair.text(1), (pair.all(2)[0] as Message).value()]))
  }

  /** As `AnyValue`. */
  private value(): string | number | boolean {
    if (this.fields.has(1)) return this.text(1)
    if (this.fields.has(2)) return this.int(2) === 1
    if (this.fields.has(3)) return this.int(3)
    return this.bytes(4).readDoubleLE()
  }
}

function decodeRequest(body: Buffer): ReceivedSpan[] {
  return new Message(body).all(1).flatMap((ofResource) => {
    const resource = ofResource.all(1)[0]?.attributes(1) ?? {}
    return ofResource.all(2).flatMap((scope) => scope.all(2).map((span) => decodeSpan(span, resource)))
  })
}

function decodeSpan(span: Message, resource: Attributes): ReceivedSpan {
  const status = span.all(15)[0]
  return {
    traceId: span.hex(1),
    spanId: span.hex(2),
    parentSpanId: span.hex(4),
    name: span.text(5),
    kind: span.int(6),
    attributes: span.attributes(9),
    status: { code: status?.int(3) ?? 0, message: status?.text(2) ?? '' },
    events: span.all(11).length,
    links: span.all(13).map((link) => ({ traceId: link.hex(1), spanId: link.hex(2) })),
    resource,
  }
}
