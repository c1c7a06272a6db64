/**
 * The load: raw sockets on one thread, one request in flight a connection, no pipelining. It costs about 10 µs of its core a
 * request, so that a server which answers 60,000 in a second on the other core is still what limits.
 */
import { connect, type Socket } from 'node:net'

export interface Load {
  port: number
  connections: number
  /** The bytes of request `index`, or undefined when there are no more. */
  request: (index: number) => Buffer | undefined
  warmupSeconds: number
  /** How long each connection pauses after a reply; 0 by default. */
  everyMs?: number
  /**
   * Requests a second, sent at constant intervals however long the answers take (an open loop): latencies count from the
   * intended moment, so that the waiting of requests behind a slow one is in them. Without it each connection sends as soon as
   * it has its answer (a closed loop).
   */
  rate?: number
  /** Sorts the latencies by kind of request, too. */
  kindOf?: (index: number) => string
  /** After the warm-up; the load ends then, or when there are no more requests. */
  seconds: number
  /** When the clock starts and when it stops. */
  onMark?: (mark: 'start' | 'end') => void
}

export interface LoadResult {
  /** Requests sent, and answered, with those of the warm-up. */
  sent: number
  /** Answered while the clock ran, and for how long it did. */
  answered: number
  seconds: number
  /** Of these, in ms, ascending. */
  latencies: Float64Array
  latenciesByKind: Map<string, Float64Array>
  /** By status other than 200: how many, and the first body. */
  refusals: Map<number, { count: number; body: string }>
  /** Some of the answers, whole. */
  samples: { index: number; body: string }[]
}

const SAMPLE_EVERY = 61
const SAMPLES_AT_MOST = 2_000
const BUFFER_BYTES = 65_536
const HEAD_BYTES = 2_048
// The shortest interval of a timer. Requests that became due since the last one are sent together.
const TICK_MS = 1

/** Rejects when a connection breaks. */
export async function drive(load: Load): Promise<LoadResult> {
  const { port, connections, request, warmupSeconds, seconds, everyMs, rate, kindOf, onMark } = load
  const latencies: number[] = []
  const byKind = new Map<string, number[]>()
  const refusals: LoadResult['refusals'] = new Map()
  const samples: LoadResult['samples'] = []
  const begun = performance.now()
  const startAt = begun + warmupSeconds * 1000
  const endAt = startAt + seconds * 1000
  let clock: 'not started' | 'running' | 'stopped' = 'not started'
  let startedAt = begun
  let stoppedAt = begun
  let sent = 0

  function start(now: number): void {
    clock = 'running'
    startedAt = now
    onMark?.('start')
  }
  function stop(now: number): void {
    if (clock === 'stopped') return
    clock = 'stopped'
    stoppedAt = now
    onMark?.('end')
  }

  function next(now: number): { index: number; bytes: Buffer } | undefined {
    if (clock === 'not started' && now >= startAt) start(now)
    if (now >= endAt) return stop(now) as undefined
    const bytes = request(sent)
    if (!bytes) return undefined
    return { index: sent++, bytes }
  }

  function keep(index: number, status: number, body: () => string): void {
    if (status !== 200) {
      const refusal = refusals.get(status)
      if (refusal) refusal.count += 1
      else refusals.set(status, { count: 1, body: body() })
    } else if (index % SAMPLE_EVERY === 0 && samples.length < SAMPLES_AT_MOST) {
      samples.push({ index, body: body() })
    }
  }

  function record(index: number, latencyMs: number): void {
    latencies.push(latencyMs)
    if (!kindOf) return
    const kind = kindOf(index)
    const ofKind = byKind.get(kind)
    if (ofKind) ofKind.push(latencyMs)
    else byKind.set(kind, [latencyMs])
  }

  /** All connections together, in an open loop. Ends when all that was due is answered. */
  function runOpenLoop(requestsPerSecond: number): Promise<void> {
    const dueAt = (index: number) => begun + (index * 1000) / requestsPerSecond
    return new Promise((done, fail) => {
      const sockets: Socket[] = []
      const idle: ((index: number, bytes: Buffer) => void)[] = []
      let isOver = false
      function pump(): void {
        const now = performance.now()
        while (!isOver && idle.length > 0 && dueAt(sent) <= now) {
          // The clock stops when the last one is answered, not here.
          const following = dueAt(sent) < endAt ? next(dueAt(sent)) : undefined
          if (following) idle.pop()?.(following.index, following.bytes)
          else isOver = true
        }
        if (isOver && idle.length === connections) {
          clearInterval(timer)
          done()
          for (const socket of sockets) socket.destroy()
        }
      }
      const timer = setInterval(pump, TICK_MS)
      function open(): void {
        let index = 0
        const send = (following: number, bytes: Buffer) => {
          index = following
          socket.write(bytes)
        }
        const socket = openSocket(port, (status, body) => {
          const dueMs = dueAt(index)
          if (dueMs >= startAt && dueMs < endAt) record(index, performance.now() - dueMs)
          keep(index, status, body)
          idle.push(send)
          pump()
        })
        sockets.push(socket)
        socket.once('connect', () => idle.push(send))
        const end = (error: Error) => {
          clearInterval(timer)
          fail(error)
        }
        socket.once('error', end)
        socket.once('close', () => end(new Error(`the server ended the connection of request ${index}`)))
      }
      for (let i = 0; i < connections; i += 1) open()
    })
  }

  function runConnection(): Promise<void> {
    return new Promise((done, fail) => {
      let index = 0
      let sentAt = 0
      const socket: Socket = openSocket(port, (status, body) => {
        const now = performance.now()
        if (clock === 'running') record(index, now - sentAt)
        keep(index, status, body)
        if (everyMs) setTimeout(() => send(performance.now()), everyMs)
        else send(now)
      })
      function send(now: number): void {
        const following = next(now)
        if (!following) {
          done()
          socket.destroy()
          return
        }
        index = following.index
        sentAt = performance.now()
        socket.write(following.bytes)
      }
      socket.once('connect', () => send(performance.now()))
      socket.once('error', fail)
      socket.once('close', () => fail(new Error(`the server ended the connection of request ${index}`)))
    })
  }

  if (rate) await runOpenLoop(rate)
  else await Promise.all(Array.from({ length: connections }, runConnection))
  stop(performance.now())
  return {
    sent,
    answered: latencies.length,
    seconds: (stoppedAt - startedAt) / 1000,
    latencies: ascending(latencies),
    latenciesByKind: new Map([...byKind].map(([kind, values]) => [kind, ascending(values)])),
    refusals,
    samples,
  }
}

const ascending = (values: number[]) => Float64Array.from(values).sort()

type OnReply = (status: number, body: () => string) => void

/** A socket that reports each complete reply. Replies have a Content-Length. */
function openSocket(port: number, onReply: OnReply): Socket {
  let pending: Buffer | undefined
  function onBytes(length: number, chunk: Uint8Array): boolean {
    const fresh = (chunk as Buffer).subarray(0, length)
    const bytes = pending ? Buffer.concat([pending, fresh]) : fresh
    const head = bytes.toString('latin1', 0, HEAD_BYTES)
    const headEnd = head.indexOf('\r\n\r\n') + 4
    const lengthAt =
      head.indexOf('ontent-length: ') < 0 ? head.indexOf('ontent-Length: ') : head.indexOf('ontent-length: ')
    const replyEnd = headEnd + Number.parseInt(head.slice(lengthAt + 15, lengthAt + 24), 10)
    if (headEnd < 4 || bytes.length < replyEnd) {
      // The buffer is read into again.
      pending = Buffer.from(bytes)
    } else {
      pending = undefined
      onReply(Number(head.slice(9, 12)), () => bytes.toString('utf8', headEnd, replyEnd))
    }
    return true
  }
  return connect({
    port,
    host: '127.0.0.1',
    noDelay: true,
    onread: { buffer: Buffer.allocUnsafe(BUFFER_BYTES), callback: onBytes },
  })
}
